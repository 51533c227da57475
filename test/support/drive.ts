import type { VirtualClock } from '../sim/virtual-clock.ts';

/** Runs what is due on `clock`, without letting time pass, until `work` has ended. */
export async function drive<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let over = false;
  const end = () => {
    over = true;
  };
  work.then(end, end);
  while (!over) {
    clock.runNext(clock.now());
    await new Promise((resolve) => setImmediate(resolve));
  }
  return work;
}
