import { DqliteError } from '../base/errors.ts';
import { PendingWait, type Wait, type Waiter } from '../sql/waiter.ts';
import type { Consensus } from './consensus.ts';

/**
 * Lets all requests that wait for a proof of leadership share one. A round that is under way proves nothing for
 * a request that came after it began: that one waits for the next.
 */
export class LeadershipCheck {
  readonly #consensus: Consensus;
  #asked: Set<PendingWait> | undefined;
  #next = new Set<PendingWait>();

  constructor(consensus: Consensus) {
    this.#consensus = consensus;
  }

  /** The waiter is resumed once a majority confirmed that this server led after the call. */
  wait(waiter: Waiter): Wait {
    const wait = new PendingWait(waiter);
    this.#next.add(wait);
    if (this.#asked === undefined) this.#ask();
    return wait;
  }

  #ask(): void {
    this.#asked = this.#next;
    this.#next = new Set();
    this.#consensus.confirmLeadership().then(
      () => this.#answered(undefined),
      (error: unknown) => this.#answered(error),
    );
  }

  #answered(error: unknown): void {
    const waits = this.#asked ?? new Set();
    this.#asked = undefined;
    if (this.#next.size > 0) this.#ask();
    for (const wait of waits) {
      if (error === undefined) wait.resume();
      else wait.fail(error instanceof DqliteError ? error : DqliteError.of('leadershipLost'));
    }
  }
}
