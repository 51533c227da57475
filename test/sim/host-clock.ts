import type { Clock, Timer } from '../../src/base/clock.ts';
import type { Instant } from '../../src/base/ids.ts';

interface Due {
  readonly life: number;
  run: (() => void) | undefined;
}

/** Timers never fire early, whatever rounding does to a clock that runs fast or slow. */
const ROUNDING_MS = 0.001;

/**
 * The clock of one simulated host: a little fast or slow, with a zero of its own. While the process is paused what
 * is due waits and comes late; when it dies what was due never comes.
 */
export class HostClock implements Clock {
  readonly #world: Clock;
  readonly #rate: number;
  readonly #zeroMs: number;
  #life = 0;
  #paused = false;
  #held: Due[] = [];

  /** @param rate how many milliseconds this clock counts in one of the world's */
  constructor(world: Clock, rate: number, zeroMs: number) {
    this.#world = world;
    this.#rate = rate;
    this.#zeroMs = zeroMs;
  }

  get paused(): boolean {
    return this.#paused;
  }

  now(): Instant {
    return (this.#zeroMs + this.#rate * this.#world.now()) as Instant;
  }

  after(delayMs: number, run: () => void): Timer {
    const due: Due = { life: this.#life, run };
    this.#world.after(Math.max(0, delayMs) / this.#rate + ROUNDING_MS, () => this.#fire(due));
    return {
      cancel: () => {
        due.run = undefined;
      },
    };
  }

  nextTurn(run: () => void): void {
    const due: Due = { life: this.#life, run };
    this.#world.nextTurn(() => this.#fire(due));
  }

  /** Something comes from outside: runs now, or when the pause ends. */
  arrive(run: () => void): void {
    this.#fire({ life: this.#life, run });
  }

  /** Something that is on its way: `arrive` for this run of the process, and nothing for the next. */
  ofThisLife(run: () => void): () => void {
    const due: Due = { life: this.#life, run };
    return () => this.#fire(due);
  }

  pause(): void {
    this.#paused = true;
  }

  /** What was held back comes now, in order, one turn each, and before anything else. */
  resume(): void {
    this.#paused = false;
    this.#drainLater();
  }

  /** The process is gone: nothing that waits will run. */
  die(): void {
    this.#life++;
    this.#paused = false;
    this.#held = [];
  }

  #fire(due: Due): void {
    if (due.run === undefined || due.life !== this.#life) return;
    if (this.#paused || this.#held.length > 0) this.#held.push(due);
    else runOnce(due);
  }

  #drainLater(): void {
    const life = this.#life;
    this.#world.nextTurn(() => {
      if (life !== this.#life || this.#paused) return;
      const due = this.#held.shift();
      if (due === undefined) return;
      runOnce(due);
      this.#drainLater();
    });
  }
}

function runOnce(due: Due): void {
  const { run } = due;
  due.run = undefined;
  run?.();
}
