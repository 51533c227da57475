import type { Clock, Timer } from '../../src/base/clock.ts';
import type { Instant } from '../../src/base/ids.ts';

interface Due {
  readonly at: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/**
 * Time that passes only from one due event to the next. Everything that happens in a simulated world happens in
 * here, one thing after another, in an order that the seed decides.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  /** A binary heap: the earliest event, and of equal ones the oldest, comes first. */
  readonly #heap: Due[] = [];

  now(): Instant {
    return this.#nowMs as Instant;
  }

  after(delayMs: number, run: () => void): Timer {
    const due: Due = { at: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(due);
    return {
      cancel: () => {
        due.run = undefined;
      },
    };
  }

  nextTurn(run: () => void): void {
    this.after(0, run);
  }

  /** Jumps to the next event and runs it. False when there is none before `untilMs`. */
  runNext(untilMs: number): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > untilMs) {
        this.#nowMs = untilMs;
        return false;
      }
      this.#pop();
      if (next.run === undefined) continue;
      this.#nowMs = next.at;
      next.run();
      return true;
    }
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isEarlier(due, heap[parent] as Due)) break;
      heap[at] = heap[parent] as Due;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Due;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isEarlier(heap[child + 1] as Due, heap[child] as Due)) child++;
      if (!isEarlier(heap[child] as Due, last)) break;
      heap[at] = heap[child] as Due;
      at = child;
    }
    heap[at] = last;
  }
}

function isEarlier(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
