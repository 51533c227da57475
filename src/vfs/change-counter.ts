/** Where change counters come from. */
export interface Counter {
  /** The next number. */
  next(): number;
}

/**
 * The change counters that SQLite's pagers see on page 1. A pager keeps its cache from one transaction to the
 * next when the counter has not changed, so a number must never stand for two contents: not even when
 * speculative transactions were dropped and others took their place. Hence the counter stored in the page is
 * never shown; these local numbers are, and each is used once.
 *
 * They are 32 bits wide. After 2^32 transactions they start again, as SQLite's own counter does.
 */
export class ChangeCounter implements Counter {
  #last = 0;

  /**
   * The number after that of the head. A writer that started on the head has written exactly this one to its own page 1,
   * which is why it can keep its cache.
   */
  next(): number {
    this.#last = (this.#last + 1) >>> 0;
    return this.#last;
  }
}
