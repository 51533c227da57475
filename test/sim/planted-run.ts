import { plant } from './plant.ts';
import { plantedBugs } from './planted-bugs.ts';

/** `planted-run.ts BUG FIRST LAST`: runs the seeds until one finds the bug; prints the result as JSON. */
const [name = '', first = '1', last = '1'] = process.argv.slice(2);
const bug = plantedBugs[name];
if (bug === undefined) throw new Error(`no bug is called ${name}`);
plant(bug);
const { runSeed } = await import('./run-seed.ts');

let found: { seed: number; seeds: number; error: string } | undefined;
const step = bug.step ?? 1;
for (let seeds = Number(first); seeds <= Number(last); seeds++) {
  const seed = seeds * step;
  const outcome = await runSeed(seed);
  if (outcome.kind === 'passed') continue;
  found = { seed, seeds, error: String(outcome.error) };
  break;
}
process.stdout.write(`${JSON.stringify({ name, found })}\n`);
