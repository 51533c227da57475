import type { Socket } from 'node:net';
import type { Logger } from '../base/logger.ts';
import type { Gateway } from '../gateway/gateway.ts';
import type { Output } from '../gateway/output.ts';
import type { Session } from '../gateway/session.ts';
import { readNow } from './read-now.ts';

/** What to do with a connection that turned out to come from another server. */
export type AdoptPeer = (socket: Socket, id: bigint, address: string, rest: Buffer) => void;

/**
 * One accepted connection: carries bytes between a socket and a session, and knows nothing of what they mean. What
 * happens to it happens to no other connection.
 */
export class ClientConnection implements Output {
  readonly #socket: Socket;
  readonly #session: Session;
  readonly #adoptPeer: AdoptPeer;
  #listening = true;
  #receivedAt = performance.now();
  readonly #onData = (bytes: Buffer): void => {
    this.#receivedAt = performance.now();
    this.#session.receive(bytes);
  };
  readonly #onDrain = (): void => this.#session.drained();
  readonly #onError: (error: Error) => void;
  readonly #onClose = (): void => this.#session.close();

  constructor(socket: Socket, gateway: Gateway, adoptPeer: AdoptPeer, logger: Logger) {
    this.#socket = socket;
    this.#adoptPeer = adoptPeer;
    this.#session = gateway.accept(this);
    // Resets and broken pipes are how clients leave; `close` follows.
    this.#onError = (error) => logger.debug({ err: error }, 'client connection failed');
    socket.on('data', this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** When something was last received, on the clock of `performance.now`. */
  get receivedAt(): number {
    return this.#receivedAt;
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  readNow(): Buffer | undefined {
    return readNow(this.#socket);
  }

  pauseReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    if (this.#listening) this.#socket.resume();
  }

  /** Takes no more requests; those that were read are answered. */
  stopReading(): void {
    this.#listening = false;
    this.#socket.pause();
  }

  close(): void {
    this.#socket.destroy();
  }

  becomePeer(id: bigint, address: string, rest: Buffer): void {
    const socket = this.#socket;
    socket.pause();
    socket.off('data', this.#onData).off('drain', this.#onDrain).off('close', this.#onClose);
    // Until the new owner listens an error must not be one that nobody handles.
    this.#adoptPeer(socket, id, address, rest);
    socket.off('error', this.#onError);
    if (!socket.destroyed) socket.on('error', () => {});
  }
}
