import type { Clock } from '../base/clock.ts';
import type { Instant, Term } from '../base/ids.ts';

/** Bytes of shared memory that a lease takes. */
const LEASE_BYTES = 24;

/**
 * The lease of a leader in memory that all threads share: granted on the thread of Raft, checked where reads
 * are served, without a message in between. Instants come from a clock that is the same on all threads.
 *
 * The thread that serves may be far behind: it may not have heard yet that the leadership it knows has ended, that
 * others have led since, and that this server leads again. The lease of that later leadership proves nothing about
 * the state that it has, and so each lease names the leadership that it belongs to.
 */
export class SharedLease {
  readonly memory: SharedArrayBuffer;
  readonly #until: Float64Array;
  readonly #term: Float64Array;
  /** Touched between the two: whoever reads the instant of a leadership reads its term after it. */
  readonly #fence: Int32Array;
  readonly #clock: Clock;

  /** @param memory of the lease on another thread; a new one without it */
  constructor(clock: Clock, memory?: SharedArrayBuffer) {
    this.#clock = clock;
    this.memory = memory ?? new SharedArrayBuffer(LEASE_BYTES);
    this.#until = new Float64Array(this.memory, 0, 1);
    this.#term = new Float64Array(this.memory, 8, 1);
    this.#fence = new Int32Array(this.memory, 16, 1);
    if (memory === undefined) this.#until[0] = Number.NEGATIVE_INFINITY;
  }

  /** Grants it to the leadership of `term` until an instant, or ends it with one in the past. */
  set(until: Instant, term: Term): void {
    this.#term[0] = term;
    Atomics.add(this.#fence, 0, 1);
    this.#until[0] = until;
    Atomics.add(this.#fence, 0, 1);
  }

  /** Whether the leadership of `term` holds it. */
  held(term: Term): boolean {
    Atomics.load(this.#fence, 0);
    const until = this.#until[0] ?? 0;
    Atomics.load(this.#fence, 0);
    return this.#term[0] === term && this.#clock.now() < until;
  }
}
