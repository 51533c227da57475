import { loadHashing } from '../../src/storage/lz4-frame.ts';
import { type Summary, World } from './world.ts';

/** How a seed ended. */
export type Outcome = {
  readonly seed: number;
  readonly summary: Summary;
  /** The newest lines of the trace, as many as were asked for. */
  readonly lines: readonly string[];
} & ({ readonly kind: 'passed' } | { readonly kind: 'failed'; readonly error: unknown });

/** One seed of so many runs the real SQL machine and gateway. */
const sqlEvery = 10;

/** Runs one seed. @param keep how many lines of its trace to keep: 0 is much faster */
export async function runSeed(seed: number, keep = 0): Promise<Outcome> {
  await loadHashing();
  const world = new World(seed, seed % sqlEvery === 0 ? 'sql' : 'registers', keep);
  const failed = (error: unknown) => world.fail(error);
  // In the daemon these stop the process: here they fail the seed.
  process.on('unhandledRejection', failed);
  process.on('uncaughtException', failed);
  try {
    const summary = await world.run();
    return { seed, kind: 'passed', summary, lines: world.trace.lines };
  } catch (error) {
    return { seed, kind: 'failed', error, lines: world.trace.lines, summary: world.summary };
  } finally {
    world.end();
    process.off('unhandledRejection', failed);
    process.off('uncaughtException', failed);
  }
}
