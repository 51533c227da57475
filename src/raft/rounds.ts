import type { Index, Instant } from './types.ts';

const capacity = 4096;

/**
 * When which round of AppendEntries began, and what the log's last index was then. An answer to a message of
 * round r proves that its sender still followed this leader when r had begun: leases and ReadIndex rest on it.
 * Remembers the newest 4096 rounds; a proof for an older one is no proof.
 */
export class Rounds {
  #current = 0;
  readonly #startedAt = new Float64Array(capacity);
  readonly #lastIndex = new Float64Array(capacity);

  /** The round that messages of this moment belong to; 0 before the first. */
  get current(): number {
    return this.#current;
  }

  begin(now: Instant, lastIndex: Index): number {
    this.#current++;
    this.#startedAt[this.#current % capacity] = now;
    this.#lastIndex[this.#current % capacity] = lastIndex;
    return this.#current;
  }

  /** undefined for rounds that were never begun or are forgotten. */
  startedAt(round: number): Instant | undefined {
    if (round < 1 || round > this.#current || round <= this.#current - capacity) return undefined;
    return this.#startedAt[round % capacity] as Instant;
  }

  /**
   * The newest round that had begun before the entry `index` existed: whoever holds that entry got it in
   * that round or later. 0 when none is remembered.
   */
  newestBefore(index: Index): number {
    let low = Math.max(1, this.#current - capacity + 1);
    let high = this.#current;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if ((this.#lastIndex[middle % capacity] ?? 0) < index) low = middle + 1;
      else high = middle - 1;
    }
    return high > this.#current - capacity ? high : 0;
  }
}
