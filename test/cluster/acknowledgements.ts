/** A write that was acknowledged; instants on the clock of `performance.now()`. */
export interface Acknowledged {
  readonly value: number;
  readonly begunAt: number;
  readonly endedAt: number;
}

/** What writers were told, in the order in which they were told. Who fills it does not matter: see Load and GoLoad. */
export class Acknowledgements {
  readonly acknowledged: Acknowledged[] = [];
  /** Writes that failed, each with its error: they may have been executed or not. */
  readonly failed: { readonly value: number; readonly error: Error }[] = [];

  /** Resolves with the first write that ends from now on, or that begins from now on, and is acknowledged. */
  async next(which: 'ends' | 'begins' = 'begins'): Promise<Acknowledged> {
    const from = performance.now();
    for (;;) {
      const newest = this.acknowledged.at(-1);
      if (newest !== undefined && newest.endedAt >= from) {
        const found = this.acknowledged.find(
          ({ begunAt, endedAt }) => (which === 'begins' ? begunAt : endedAt) >= from,
        );
        if (found !== undefined) return found;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Resolves when so many more writes are acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged.length + count;
    while (this.acknowledged.length < wanted) await new Promise((go) => setTimeout(go, 1));
  }

  /** The longest time without any acknowledgement between two instants. */
  longestPauseMs(from: number, to = performance.now()): number {
    const ends = this.acknowledged.map(({ endedAt }) => endedAt);
    const within = [from, ...ends.filter((at) => at >= from && at <= to), to].sort((a, b) => a - b);
    let longest = 0;
    for (const [i, at] of within.entries()) longest = Math.max(longest, at - (within[i - 1] ?? at));
    return Math.round(longest);
  }

  /** What the rows of the table say about the writes: acknowledged rows that are missing, rows that are there twice. */
  compare(rows: readonly number[]): { lost: number[]; doubled: number[]; invented: number[] } {
    const counts = new Map<number, number>();
    for (const value of rows) counts.set(value, (counts.get(value) ?? 0) + 1);
    const known = new Set([...this.acknowledged, ...this.failed].map(({ value }) => value));
    return {
      lost: this.acknowledged.map(({ value }) => value).filter((value) => !counts.has(value)),
      doubled: [...counts].filter(([, count]) => count > 1).map(([value]) => value),
      invented: [...counts.keys()].filter((value) => !known.has(value)),
    };
  }
}

/** What `compare` finds when all is well. */
export const allWell = { lost: [], doubled: [], invented: [] };
