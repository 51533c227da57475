import type { Clock } from '../../src/base/clock.ts';
import type { Instant } from '../../src/base/ids.ts';

/** Time that passes by itself, in the next turn of the event loop. */
export const hurriedClock: Clock = {
  now: () => 0 as Instant,
  after(_delayMs, run) {
    setImmediate(run);
    return { cancel: () => {} };
  },
  nextTurn: (run) => void setImmediate(run),
};
