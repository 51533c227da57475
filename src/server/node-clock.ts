import type { Clock } from '../base/clock.ts';
import type { Instant } from '../base/ids.ts';

/**
 * `performance.now` counts from the start of its thread. Both it and `hrtime` read the monotonic clock of the host,
 * so that one look at each gives what has to be added for all threads to agree.
 */
const sinceHostStartMs = hostMs() - performance.now();

/** The clock of the host: monotonic, the same for all threads of the process. */
export const nodeClock: Clock = {
  now: () => (sinceHostStartMs + performance.now()) as Instant,
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  nextTurn(run) {
    setImmediate(run);
  },
};

function hostMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
