import type { DqliteError } from '../base/errors.ts';

/**
 * Someone who waits for one thing at a time. Whoever accepts a waiter calls exactly one of the two, once, and
 * never before the call that handed the waiter over has returned.
 */
export interface Waiter {
  resume(): void;
  fail(error: DqliteError): void;
}

/** One wait under way. */
export interface Wait {
  /** The waiter is not called any more. Safe to call at any time. */
  cancel(): void;
}

/** A wait that whoever keeps it ends by `resume` or `fail`; only the first of these and `cancel` counts. */
export class PendingWait implements Wait {
  #waiter: Waiter | undefined;

  constructor(waiter: Waiter) {
    this.#waiter = waiter;
  }

  resume(): void {
    this.#take()?.resume();
  }

  fail(error: DqliteError): void {
    this.#take()?.fail(error);
  }

  cancel(): void {
    this.#waiter = undefined;
  }

  #take(): Waiter | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    return waiter;
  }
}
