import type { Clock } from '../base/clock.ts';

/** Resolves in the next turn of the event loop, so that long work lets everything else go on. */
export function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.nextTurn(resolve));
}
