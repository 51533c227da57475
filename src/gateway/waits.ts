import type { Clock, Timer } from '../base/clock.ts';
import { DqliteError, type ErrorName } from '../base/errors.ts';
import { PendingWait, type Wait, type Waiter } from '../sql/waiter.ts';

/** Resumes the waiter in the next turn of the event loop. */
export function waitForTurn(clock: Clock, waiter: Waiter): Wait {
  const wait = new PendingWait(waiter);
  clock.nextTurn(() => wait.resume());
  return wait;
}

/** Resumes the waiter when `promise` resolves; fails it with the reason, a DqliteError, when it rejects. */
export function waitForPromise(promise: Promise<void>, waiter: Waiter): Wait {
  const wait = new PendingWait(waiter);
  promise.then(
    () => wait.resume(),
    (error: unknown) => {
      if (!(error instanceof DqliteError)) throw error;
      wait.fail(error);
    },
  );
  return wait;
}

/** A wait that fails with `error` when nobody has ended it after `timeoutMs` (0: waits for ever). */
export class TimedWait implements Wait {
  readonly #wait: PendingWait;
  readonly #timer: Timer | undefined;

  constructor(waiter: Waiter, clock: Clock, timeoutMs: number, error: ErrorName) {
    this.#wait = new PendingWait(waiter);
    this.#timer =
      timeoutMs === 0 ? undefined : clock.after(timeoutMs, () => this.fail(DqliteError.of(error)));
  }

  resume(): void {
    this.ended();
    this.#wait.resume();
  }

  fail(error: DqliteError): void {
    this.ended();
    this.#wait.fail(error);
  }

  cancel(): void {
    this.ended();
    this.#wait.cancel();
  }

  /** Nobody waits any more, whatever the reason. May be called more than once. */
  protected ended(): void {
    this.#timer?.cancel();
  }
}
