/**
 * Decides whether a history of operations on one register could have happened one at a time, each at some instant
 * between its call and its return (Herlihy and Wing 1990; the search is Wing and Gong's with the memory of states seen
 * that Lowe added). Tested in linearizability.test.ts on hand-made good and bad histories.
 */
export interface Operation {
  readonly kind: 'read' | 'write';
  /** What was written, or what was read; undefined reads "nothing there". */
  readonly value: number | undefined;
  readonly calledAt: number;
  /** Infinity when the outcome is unknown: a write that may take effect at any time after, or never. */
  readonly returnedAt: number;
}

/** A history that needs more states than this is reported as undecided rather than searched for ever. */
const STATES_LIMIT = 2_000_000;

export type Verdict = 'linearizable' | 'not linearizable' | 'undecided';

/** Histories of up to a few hundred operations with a handful of concurrent ones are decided in milliseconds. */
export function checkRegister(
  operations: readonly Operation[],
  initial: number | undefined,
): Verdict {
  const seen = new Set<number | undefined>();
  for (const { kind, value, returnedAt } of operations) {
    if (kind === 'read' && returnedAt !== Number.POSITIVE_INFINITY) seen.add(value);
  }
  // Of unknown outcome, a read tells nothing, and a write that nobody read may just as well never take effect.
  const history = operations
    .filter(({ kind, value, returnedAt }) => {
      return returnedAt !== Number.POSITIVE_INFINITY || (kind === 'write' && seen.has(value));
    })
    .sort((a, b) => a.calledAt - b.calledAt);
  return new Search(history, initial).run();
}

class Search {
  readonly #history: readonly Operation[];
  readonly #initial: number | undefined;
  readonly #seen = new Set<string>();
  readonly #done: Uint8Array;
  /** Operations with a known outcome that are not placed yet. */
  #left: number;

  constructor(history: readonly Operation[], initial: number | undefined) {
    this.#history = history;
    this.#initial = initial;
    this.#done = new Uint8Array(history.length);
    this.#left = history.filter(({ returnedAt }) => returnedAt !== Number.POSITIVE_INFINITY).length;
  }

  /** Depth-first with a stack of its own: histories are longer than the call stack is deep. */
  run(): Verdict {
    const stack: { state: number | undefined; next: number; placed: number }[] = [];
    let state = this.#initial;
    let next = 0;
    for (;;) {
      if (this.#left === 0) return 'linearizable';
      const placed = this.#firstPlaceable(state, next);
      if (placed >= 0) {
        const operation = this.#history[placed] as Operation;
        this.#mark(placed, 1);
        const after = operation.kind === 'write' ? operation.value : state;
        if (this.#isNew(after)) {
          if (this.#seen.size > STATES_LIMIT) return 'undecided';
          stack.push({ state, next: placed + 1, placed });
          state = after;
          next = 0;
          continue;
        }
        this.#mark(placed, 0);
        next = placed + 1;
        continue;
      }
      const back = stack.pop();
      if (back === undefined) return 'not linearizable';
      this.#mark(back.placed, 0);
      ({ state, next } = back);
    }
  }

  /** The next operation, from `from` on, that may come now: nothing left over returned before it was called. */
  #firstPlaceable(state: number | undefined, from: number): number {
    let earliestReturn = Number.POSITIVE_INFINITY;
    for (let at = 0; at < this.#history.length; at++) {
      const operation = this.#history[at] as Operation;
      if (operation.calledAt > earliestReturn) return -1;
      if (this.#done[at] === 1) continue;
      if (at >= from && (operation.kind === 'write' || operation.value === state)) return at;
      earliestReturn = Math.min(earliestReturn, operation.returnedAt);
    }
    return -1;
  }

  #mark(at: number, done: 0 | 1): void {
    this.#done[at] = done;
    if ((this.#history[at] as Operation).returnedAt === Number.POSITIVE_INFINITY) return;
    this.#left += done === 1 ? -1 : 1;
  }

  #isNew(state: number | undefined): boolean {
    const key = `${state}:${Buffer.from(this.#done).toString('latin1')}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }
}
