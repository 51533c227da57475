import type { Clock } from '../base/clock.ts';
import type { Instant } from '../base/ids.ts';

/** Peers remembered; beyond it all are forgotten, which costs a few more lines in the log. */
const REMEMBERED = 1024;

/** Lets one line for each peer and interval into the log: a peer that speaks nonsense may do so all day. */
export class WarningLimit {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #last = new Map<bigint, Instant>();

  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /** Whether a warning about this peer may be written now. */
  allows(peer: bigint): boolean {
    const now = this.#clock.now();
    const last = this.#last.get(peer);
    if (last !== undefined && now - last < this.#intervalMs) return false;
    if (this.#last.size >= REMEMBERED) this.#last.clear();
    this.#last.set(peer, now);
    return true;
  }
}
