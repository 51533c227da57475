import type { Random } from '../../src/base/random.ts';
import type { Output } from '../../src/gateway/output.ts';
import type { Session } from '../../src/gateway/session.ts';
import { decodeResponse, type Response } from '../../src/protocol/responses.ts';
import { handshake } from '../support/wire.ts';
import type { Host } from './host.ts';
import type { SqlService } from './sql-service.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** The connection ended, or nothing came in time: what became of the request is not known. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

const headerBytes = 8;

/** A client's connection to the gateway of one process: bytes in order, with time on the way. */
export class GatewayConnection implements Output {
  readonly host: Host<SqlService>;
  readonly bufferedBytes = 0;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #maxDelayMs: number;
  /** The process it leads to. */
  readonly #run: number;
  #session: Session | undefined;
  #received = Buffer.alloc(0);
  #waiting: ((response: Response | undefined) => void) | undefined;
  #ready: Response[] = [];
  #closed = false;
  #sentUntil = 0;
  #receivedUntil = 0;

  constructor(clock: VirtualClock, random: Random, host: Host<SqlService>, maxDelayMs: number) {
    this.host = host;
    this.#clock = clock;
    this.#random = random;
    this.#maxDelayMs = maxDelayMs;
    this.#run = host.run;
    this.#there((service) => {
      this.#session = service.gateway?.accept(this);
      this.#session?.receive(handshake);
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends a request; resolves to its first response. @throws NoAnswer */
  async call(request: Buffer, timeoutMs: number): Promise<Response> {
    this.#there(() => this.#session?.receive(request));
    return this.next(timeoutMs);
  }

  /** The next response. @throws NoAnswer */
  async next(timeoutMs: number): Promise<Response> {
    if (this.#closed) throw new NoAnswer('closed');
    const ready = this.#ready.shift();
    if (ready !== undefined) return ready;
    const response = await new Promise<Response | undefined>((resolve) => {
      this.#waiting = resolve;
      this.#clock.after(timeoutMs, () => resolve(undefined));
    });
    this.#waiting = undefined;
    if (response !== undefined) return response;
    this.hangUp();
    throw new NoAnswer('no answer');
  }

  /** The client wants no more. */
  hangUp(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#there(() => this.#session?.close());
  }

  write(bytes: Uint8Array): boolean {
    const copy = Buffer.from(bytes);
    this.#receivedUntil = this.#later(this.#receivedUntil, () => this.#receive(copy));
    return true;
  }

  readNow(): Buffer {
    return Buffer.alloc(0);
  }

  pauseReading(): void {}

  resumeReading(): void {}

  close(): void {
    this.#receivedUntil = this.#later(this.#receivedUntil, () => {
      this.#closed = true;
      this.#waiting?.(undefined);
    });
  }

  becomePeer(): void {
    throw new Error('no client says CONNECT');
  }

  #receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= headerBytes) {
      const size = headerBytes + 8 * this.#received.readUInt32LE(0);
      if (this.#received.length < size) return;
      const [type = 0, schema = 0] = this.#received.subarray(4, 6);
      const body = this.#received.subarray(headerBytes, size);
      this.#received = this.#received.subarray(size);
      const response = decodeResponse({ type, schema, body });
      if (response === undefined) throw new Error(`a response of unknown type ${type}`);
      if (this.#waiting === undefined) this.#ready.push(response);
      else this.#waiting(response);
      this.#waiting = undefined;
    }
  }

  /** What arrives at the process, if it is still the same one. */
  #there(run: (service: SqlService) => void): void {
    this.#sentUntil = this.#later(this.#sentUntil, () => {
      if (this.host.run !== this.#run) return;
      this.host.mainClock.arrive(() => {
        const { life } = this.host;
        if (life !== undefined) run(life.service);
      });
    });
  }

  #later(notBefore: number, run: () => void): number {
    const now = this.#clock.now();
    const at = Math.max(notBefore, now + this.#random.int(0, this.#maxDelayMs * 10) / 10);
    this.#clock.after(at - now, run);
    return at;
  }
}
