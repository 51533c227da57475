import type { Clock, Timer } from '../base/clock.ts';
import { DiskStalledError } from './errors.ts';

/**
 * How long one durable write may take. Devices recover from errors, and paths to storage fail over, well within it; a
 * server that waits this long has long lost its leadership.
 */
export const stallLimitMs = 60_000;

/** Time is counted in these. */
const tickMs = 1000;

/**
 * Watches the durable write under way. Nothing can be known of one that never ends: the disk has failed. Counted
 * are ticks of this process, so that no pause of it (a frozen cgroup, a suspended machine) passes for a slow disk.
 */
export class StallWatch {
  readonly #clock: Clock;
  readonly #tick: () => void;
  readonly #stalled: (error: DiskStalledError) => void;
  #path: string | undefined;
  #ticks = 0;
  #timer: Timer | undefined;

  /**
   * @param nudge called each second that a write takes: the disk may have lost sight of it
   * @param stalled called once, when the limit is reached
   */
  constructor(clock: Clock, nudge: () => void, stalled: (error: DiskStalledError) => void) {
    this.#clock = clock;
    this.#stalled = stalled;
    this.#tick = () => {
      this.#timer = undefined;
      if (this.#path === undefined) return;
      this.#ticks += 1;
      if (this.#ticks * tickMs > stallLimitMs)
        return this.#stalled(new DiskStalledError(this.#path, stallLimitMs / 1000));
      // The tick in which the write began says nothing.
      if (this.#ticks > 1) nudge();
      this.#wait();
    };
  }

  /** A write to this file starts, or starts again. */
  begin(path: string): void {
    this.#path = path;
    this.#ticks = 0;
    if (this.#timer === undefined) this.#wait();
  }

  /** It has ended, in whatever way. The timer goes on to its end: writes are more frequent than ticks. */
  end(): void {
    this.#path = undefined;
  }

  close(): void {
    this.#path = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #wait(): void {
    this.#timer = this.#clock.after(tickMs, this.#tick);
  }
}
