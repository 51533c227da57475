import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { numberSetting } from '../support/settings.ts';
import { planted } from './plant.ts';
import { plantedBugs } from './planted-bugs.ts';
import { seekAll } from './seek.ts';

/** How many seeds each bug is looked for in; 0: only those are looked for that are found within a few. */
const seedsLimit = numberSetting('SIM_PLANTED', 0);
const all = seedsLimit > 0;

t.setTimeout(all ? 4 * 3600 * 1000 : 300_000);

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

t.test('the page has a row for every planted bug', (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/simulation.md'), 'utf8');
  for (const [name, { why }] of Object.entries(plantedBugs)) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${name} |`));
    t.ok(row?.includes(`| ${why} |`), name);
  }
  t.end();
});

t.test('planted bugs are found', async (t) => {
  const wanted = Object.keys(plantedBugs).filter(
    (name) => all || plantedBugs[name]?.within !== undefined,
  );
  await seekAll(
    wanted,
    (name) => (all ? seedsLimit : (plantedBugs[name]?.within ?? 0)),
    (name, found) => {
      const how =
        found === undefined ? 'not found' : `seed ${found.seeds}: ${found.error.split('\n')[0]}`;
      t.ok(found, `${name} (${how})`);
    },
  );
});
