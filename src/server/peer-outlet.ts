import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert } from '../base/assert.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { canWriteDirectly, SocketWriter } from './direct-writes.ts';
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
  /** Past the stream, where that is possible. */
  #writer: SocketWriter | undefined;
  #over = false;
  #finishing = false;
  #finishedMeanwhile = false;
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
      this.#writer = this.#directWriter();
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
    // The time limit is for each part: a long message over a slow line must not look like a dead peer.
    const [part, rest] = splitAt(buffers, this.#limits.writeBytes);
    this.#writeOnce(part, (error) => {
      if (error !== undefined) return;
      if (rest.length > 0) this.write(rest, done);
      else done();
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
    if (this.#writer === undefined) this.#writeToStream(buffers);
    // Where the stream has ended or failed, which it says by an event of its own, nothing was written.
    else if (this.#writer.writeAll(buffers) && this.#stream.writable) this.#finishNow();
  }

  #directWriter(): SocketWriter | undefined {
    if (!(this.#stream instanceof Socket) || !canWriteDirectly(this.#stream)) return undefined;
    return new SocketWriter(this.#stream, () => {
      if (!this.#over) this.#finishNow();
    });
  }

  #writeToStream(buffers: readonly Uint8Array[]): void {
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

  /** Whoever hears that a write is finished may write again, which may be finished at once: in a loop, not ever deeper. */
  #finishNow(): void {
    if (this.#finishing) {
      this.#finishedMeanwhile = true;
      return;
    }
    this.#finishing = true;
    do {
      this.#finishedMeanwhile = false;
      this.#finishWrite(undefined);
    } while (this.#finishedMeanwhile && !this.#over);
    this.#finishing = false;
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

/** The first `limit` bytes, and the rest. */
function splitAt(
  buffers: readonly Uint8Array[],
  limit: number,
): readonly [readonly Uint8Array[], readonly Uint8Array[]] {
  let bytes = 0;
  for (const [i, buffer] of buffers.entries()) {
    const room = limit - bytes;
    if (buffer.length > room) {
      const first = [...buffers.slice(0, i), buffer.subarray(0, room)];
      return [first, [buffer.subarray(room), ...buffers.slice(i + 1)]];
    }
    bytes += buffer.length;
  }
  return [buffers, []];
}
