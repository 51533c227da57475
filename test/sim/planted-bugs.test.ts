import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { numberSetting } from '../support/settings.ts';
import { planted } from './plant.ts';
import { plantedBugs } from './planted-bugs.ts';

/** How many seeds each bug is looked for in; 0: only those are looked for that are found within a few. */
const seedsLimit = numberSetting('SIM_PLANTED', 0);
const all = seedsLimit > 0;
/** Searches at a time. */
const parallel = 2;

t.setTimeout(all ? 4 * 3600 * 1000 : 120_000);

t.test('every planted bug still has its place in the source', (t) => {
  for (const bug of Object.values(plantedBugs)) planted(bug);
  t.ok(Object.keys(plantedBugs).length >= 20);
  t.throws(
    () =>
      planted({ file: 'src/raft/quorum.ts', patches: [{ find: 'nowhere', replace: '' }], why: '' }),
    /src\/raft\/quorum\.ts holds 0 times, not once: nowhere/,
  );
  t.end();
});

t.test('planted bugs are found', async (t) => {
  const wanted = Object.entries(plantedBugs).filter(
    ([, { within }]) => all || within !== undefined,
  );
  const search = async () => {
    for (let next = wanted.shift(); next !== undefined; next = wanted.shift()) {
      const [name, { within = seedsLimit }] = next;
      const { found } = await seek(name, all ? seedsLimit : within);
      const how =
        found === undefined ? 'not found' : `seed ${found.seeds}: ${firstLine(found.error)}`;
      t.ok(found, `${name} (${how})`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, search));
});

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

interface Result {
  readonly found?: { readonly seed: number; readonly seeds: number; readonly error: string };
}

/** In a process of its own, where the bug is in the source. */
function seek(name: string, seeds: number): Promise<Result> {
  const script = join(import.meta.dirname, 'planted-run.ts');
  const child = spawn(process.execPath, ['--import=tsx', script, name, '1', `${seeds}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {},
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output));
      else reject(new Error(`${name}: ${errors}`));
    });
  });
}
