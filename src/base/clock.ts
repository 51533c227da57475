import type { Instant } from './ids.ts';

/** A callback that has not run yet. */
export interface Timer {
  cancel(): void;
}

/** The only source of time. The daemon wraps Node's timers; the simulator jumps to the next one due. */
export interface Clock {
  now(): Instant;
  /** Runs `run` once, `delayMs` from now at the earliest. */
  after(delayMs: number, run: () => void): Timer;
  /** Runs `run` in the next turn of the event loop, after the I/O that is waiting now. */
  nextTurn(run: () => void): void;
}
