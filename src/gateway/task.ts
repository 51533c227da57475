import { assert } from '../base/assert.ts';
import { DqliteError, type ErrorName } from '../base/errors.ts';
import type { Wait, Waiter } from '../sql/waiter.ts';

/**
 * Work told as a story that may have to wait. It yields the wait it has just begun and goes on when its task is
 * resumed; where nothing has to be waited for it runs through without a pause. Unlike a promise, a story can be
 * ended from outside: its `finally` blocks run at once.
 */
export type Steps<Result = void> = Generator<Wait, Result, undefined>;

/** Carries out one story at a time, for one session. */
export class Task implements Waiter {
  readonly #ended: () => void;
  #steps: Steps | undefined;
  #wait: Wait | undefined;
  #ifLost: ErrorName | undefined;
  #running = false;
  #cancelled = false;

  /** `ended` is called when a story that had to wait has come to its end, not when it was cancelled. */
  constructor(ended: () => void) {
    this.#ended = ended;
  }

  /** A story is under way. */
  get busy(): boolean {
    return this.#steps !== undefined;
  }

  /** Begins a story. It may be at its end when this returns: see `busy`. */
  start(steps: Steps): void {
    assert(this.#steps === undefined, 'one story at a time');
    this.#steps = steps;
    this.#advance(steps, undefined);
  }

  /**
   * For the story: waits for what `begin` has begun to wait for. When leadership is lost meanwhile, the story fails
   * with `ifLost`; undefined: it does not care.
   */
  *pause(begin: (waiter: Waiter) => Wait, ifLost: ErrorName | undefined): Steps {
    this.#ifLost = ifLost;
    try {
      yield begin(this);
    } finally {
      this.#ifLost = undefined;
    }
  }

  /** Leadership is lost, or the SQL engine (`instead` tells so): a story that cares fails, if it waits. */
  lose(instead?: ErrorName): void {
    const ifLost = this.#ifLost;
    if (ifLost === undefined) return;
    // An outcome that is not known stays unknown, whatever was lost.
    const name = ifLost === 'leadershipLost' ? ifLost : (instead ?? ifLost);
    this.#wait?.cancel();
    this.#goOn(DqliteError.of(name));
  }

  resume(): void {
    this.#goOn(undefined);
  }

  fail(error: DqliteError): void {
    this.#goOn(error);
  }

  /** Ends the story where it stands; its `finally` blocks run. */
  cancel(): void {
    const steps = this.#steps;
    if (steps === undefined) return;
    if (this.#running) {
      this.#cancelled = true;
      return;
    }
    this.#wait?.cancel();
    this.#wait = undefined;
    this.#steps = undefined;
    steps.return();
  }

  #goOn(error: DqliteError | undefined): void {
    const steps = this.#steps;
    assert(steps !== undefined && !this.#running, 'only a waiting story can go on');
    this.#wait = undefined;
    this.#advance(steps, error);
    if (this.#steps === undefined && !this.#cancelled) this.#ended();
  }

  #advance(steps: Steps, error: DqliteError | undefined): void {
    this.#running = true;
    let result: IteratorResult<Wait, void>;
    try {
      result = error === undefined ? steps.next() : steps.throw(error);
    } finally {
      this.#running = false;
    }
    if (result.done === true) {
      this.#steps = undefined;
      return;
    }
    this.#wait = result.value;
    if (this.#cancelled) this.cancel();
  }
}
