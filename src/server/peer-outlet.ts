import type { Duplex } from 'node:stream';
import { assert } from '../base/assert.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { PeerLimits } from './peer-limits.ts';

/** What becomes of an outlet. */
export interface OutletEvents {
  opened(): void;
  /** Called once, unless `destroy` came first. */
  failed(error: Error): void;
  /** When the peer was asked something that it has not answered, if so. */
  silentSince(): number | undefined;
}

/**
 * The writing end of one connection: one write at a time, and a watch on whether the kernel takes it and
 * whether the peer answers. Without the watch a peer that vanished is noticed after fifteen minutes.
 */
export class PeerOutlet {
  readonly #stream: Duplex;
  readonly #limits: PeerLimits;
  readonly #clock: Clock;
  readonly #events: OutletEvents;
  #watch: Timer | undefined;
  #over = false;
  #writingSince: number | undefined;
  #done: ((error: Error | undefined) => void) | undefined;
  #whenIdle: (() => void)[] = [];

  constructor(stream: Duplex, limits: PeerLimits, clock: Clock, events: OutletEvents) {
    this.#stream = stream;
    this.#limits = limits;
    this.#clock = clock;
    this.#events = events;
    stream.once('connect', () => {
      if (this.#over) return;
      this.#events.opened();
      this.#check();
    });
    stream.on('error', (error) => this.fail(error));
    stream.on('close', () => this.fail(new Error('closed by peer')));
    // A peer says nothing on this connection: reading only shows when it ends.
    stream.resume();
  }

  get writing(): boolean {
    return this.#writingSince !== undefined;
  }

  /** Hands buffers to the kernel in one go; `done` runs when it took them all. Only while nothing is being written. */
  write(buffers: readonly Uint8Array[], done: () => void): void {
    const [first] = buffers;
    const limit = this.#limits.writeBytes;
    if (buffers.length !== 1 || first === undefined || first.length <= limit) {
      this.#writeOnce(buffers, (error) => (error === undefined ? done() : undefined));
      return;
    }
    // In pieces: the time limit is for each, and a long message over a slow line must not look like a dead peer.
    this.#writeOnce([first.subarray(0, limit)], (error) => {
      if (error === undefined) this.write([first.subarray(limit)], done);
    });
  }

  /** Waits for its turn, then writes; rejects when the connection ends before all was taken. */
  async writeWhole(bytes: Uint8Array): Promise<void> {
    const limit = this.#limits.writeBytes;
    for (let from = 0; from < bytes.length; from += limit) {
      while (this.writing) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
      await new Promise<void>((resolve, reject) => {
        this.#writeOnce([bytes.subarray(from, from + limit)], (error) =>
          error === undefined ? resolve() : reject(error),
        );
      });
    }
  }

  /** Ends the connection and says why. */
  fail(error: Error): void {
    if (this.#over) return;
    this.destroy(error);
    this.#events.failed(error);
  }

  /** Ends the connection without a word. */
  destroy(error = new Error('connection closed')): void {
    if (this.#over) return;
    this.#over = true;
    this.#watch?.cancel();
    this.#stream.destroy();
    this.#finishWrite(error);
  }

  #writeOnce(buffers: readonly Uint8Array[], done: (error: Error | undefined) => void): void {
    assert(!this.writing, 'one write at a time');
    if (this.#over) {
      done(new Error('connection closed'));
      return;
    }
    this.#writingSince = this.#clock.now();
    this.#done = done;
    let left = buffers.length;
    this.#stream.cork();
    for (const buffer of buffers) {
      this.#stream.write(buffer, () => {
        left--;
        if (left === 0 && !this.#over) this.#finishWrite(undefined);
      });
    }
    this.#stream.uncork();
  }

  #finishWrite(error: Error | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    this.#writingSince = undefined;
    done?.(error);
    for (const run of this.#whenIdle.splice(0)) run();
  }

  #check(): void {
    const { writeTimeoutMs, silenceTimeoutMs } = this.#limits;
    const now = this.#clock.now();
    const silentSince = this.#events.silentSince() ?? now;
    if (now - (this.#writingSince ?? now) >= writeTimeoutMs) {
      this.fail(new Error(`nothing written for ${writeTimeoutMs} ms`));
      return;
    }
    if (now - silentSince >= silenceTimeoutMs) {
      this.fail(new Error(`no answer for ${silenceTimeoutMs} ms`));
      return;
    }
    const period = Math.min(writeTimeoutMs, silenceTimeoutMs) / 4;
    this.#watch = this.#clock.after(period, () => this.#check());
  }
}
