import type { Socket } from 'node:net';
import type { Logger } from '../base/logger.ts';
import type { Gateway } from '../gateway/gateway.ts';
import type { Output } from '../gateway/output.ts';
import type { Session } from '../gateway/session.ts';
import type { BusyPoll } from './busy-poll.ts';
import { SocketWriter } from './direct-writes.ts';
import type { Reading, StartReading } from './reading.ts';

/** What to do with a connection that turned out to come from another server. */
export type AdoptPeer = (socket: Socket, id: bigint, address: string, rest: Buffer) => void;

/** What all connections of clients share. */
export interface ClientConnectionParts {
  readonly gateway: Gateway;
  readonly adoptPeer: AdoptPeer;
  readonly startReading: StartReading;
  readonly busyPoll: Pick<BusyPoll, 'asked' | 'answered'>;
  readonly logger: Logger;
}

/**
 * One accepted connection: carries bytes between a socket and a session, and knows nothing of what they mean. What
 * happens to it happens to no other connection.
 */
export class ClientConnection implements Output {
  readonly #reading: Reading;
  readonly #session: Session;
  readonly #adoptPeer: AdoptPeer;
  readonly #busyPoll: ClientConnectionParts['busyPoll'];
  #listening = true;
  readonly #writer: SocketWriter;
  #receivedCount = 0;
  readonly #onError: (error: Error) => void;
  readonly #onClose = (): void => this.#session.close();

  /** @param accepted with `pauseOnConnect`; not to be used any more: see `socket` */
  constructor(accepted: Socket, parts: ClientConnectionParts) {
    const { gateway, adoptPeer, startReading, busyPoll, logger } = parts;
    this.#adoptPeer = adoptPeer;
    this.#busyPoll = busyPoll;
    this.#session = gateway.accept(this);
    this.#reading = startReading(accepted, (bytes) => {
      this.#receivedCount++;
      busyPoll.asked();
      this.#session.receive(bytes);
    });
    const { socket } = this.#reading;
    this.#writer = new SocketWriter(socket, () => this.#session.drained());
    // Resets and broken pipes are how clients leave; `close` follows.
    this.#onError = (error) => logger.debug({ err: error }, 'client connection failed');
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** The socket that carries the connection. */
  get socket(): Socket {
    return this.#reading.socket;
  }

  /** How often something was received. */
  get receivedCount(): number {
    return this.#receivedCount;
  }

  write(bytes: Uint8Array): boolean {
    this.#busyPoll.answered();
    return this.#writer.write(bytes);
  }

  get bufferedBytes(): number {
    return this.#writer.bufferedBytes;
  }

  readNow(): Buffer | undefined {
    return this.#reading.readNow();
  }

  pauseReading(): void {
    this.#reading.pause();
  }

  resumeReading(): void {
    if (this.#listening) this.#reading.resume();
  }

  /** Takes no more requests; those that were read are answered. */
  stopReading(): void {
    this.#listening = false;
    this.#reading.pause();
  }

  close(): void {
    this.#reading.socket.destroy();
  }

  becomePeer(id: bigint, address: string, rest: Buffer): void {
    const before = this.#reading.socket;
    before.removeAllListeners('data').removeAllListeners('drain').off('close', this.#onClose);
    const socket = this.#reading.handOver();
    // Until the new owner listens an error must not be one that nobody handles.
    socket.on('error', () => {});
    this.#adoptPeer(socket, id, address, rest);
  }
}
