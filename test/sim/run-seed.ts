import { loadHashing } from '../../src/storage/lz4-frame.ts';
import { type Summary, World } from './world.ts';

/** How a seed ended. */
export type Outcome =
  | { readonly seed: number; readonly kind: 'passed'; readonly summary: Summary }
  | {
      readonly seed: number;
      readonly kind: 'failed';
      readonly error: unknown;
      readonly lines: readonly string[];
      readonly summary: Summary;
    };

/** Runs one seed. @param keep how many lines of its trace to keep for a failure */
export async function runSeed(seed: number, keep = 0): Promise<Outcome> {
  await loadHashing();
  const world = new World(seed, keep);
  const rejected = (error: unknown) => world.fail(error);
  // In the daemon a rejection that nobody handles stops the process: here it fails the seed.
  process.on('unhandledRejection', rejected);
  try {
    return { seed, kind: 'passed', summary: await world.run() };
  } catch (error) {
    return { seed, kind: 'failed', error, lines: world.trace.lines, summary: world.summary };
  } finally {
    process.off('unhandledRejection', rejected);
  }
}
