import type { Clock } from '../base/clock.ts';
import type { Instant } from '../base/ids.ts';

/** Bytes of shared memory that a lease takes. */
const LEASE_BYTES = 16;

/**
 * The lease of a leader in memory that all threads share: granted on the thread of Raft, checked where reads
 * are served, without a message in between. Instants come from a clock that is the same on all threads.
 */
export class SharedLease {
  readonly memory: SharedArrayBuffer;
  readonly #until: Float64Array;
  /** Written after and read before the instant: neither may be reordered beyond it. */
  readonly #fence: Int32Array;
  readonly #clock: Clock;

  /** @param memory of the lease on another thread; a new one without it */
  constructor(clock: Clock, memory?: SharedArrayBuffer) {
    this.#clock = clock;
    this.memory = memory ?? new SharedArrayBuffer(LEASE_BYTES);
    this.#until = new Float64Array(this.memory, 0, 1);
    this.#fence = new Int32Array(this.memory, 8, 1);
    if (memory === undefined) this.#until[0] = Number.NEGATIVE_INFINITY;
  }

  /** Grants it until an instant, or ends it with one in the past. */
  set(until: Instant): void {
    this.#until[0] = until;
    Atomics.add(this.#fence, 0, 1);
  }

  held(): boolean {
    Atomics.load(this.#fence, 0);
    return this.#clock.now() < (this.#until[0] ?? 0);
  }
}
