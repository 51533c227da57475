import { setFlagsFromString } from 'node:v8';

/**
 * How much larger than after its last full collection a heap may become before the next one. V8 would begin one at about
 * half more, which is right for large heaps; those of a server are small (10 MB) and get as much garbage a second as
 * they are large, so that both threads would collect every second, for 10 to 30 ms. No public interface: a V8 that does
 * not know it ignores it.
 */
export const heapGrowthOption = '--heap-growing-percent=350';

/**
 * Lets the heaps of this process grow, those of threads to come included: costs up to some 30 MB each, and what their
 * garbage keeps outside of them.
 */
export function letHeapsGrow(): void {
  setFlagsFromString(heapGrowthOption);
}
