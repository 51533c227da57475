/**
 * `npm run sim -- --seeds A..B [--trace LINES]`: runs simulated clusters by seed, one after the other, and says which
 * failed, why, and what happened last. Exits with 1 when any did.
 *
 * `npm run sim -- --planted SEEDS [--parallel N] [--write]`: plants one bug after the other and looks for it in at most so
 * many seeds; prints the table, with `--write` into docs/simulation.md. Exits with 1 when one is not found.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { plantedBugs } from '../test/sim/planted-bugs.ts';
import { plantedTable } from '../test/sim/planted-table.ts';
import { runSeed } from '../test/sim/run-seed.ts';
import { type Found, seekAll } from '../test/sim/seek.ts';
import { replaced } from './docs.ts';

const page = { file: 'docs/simulation.md', marker: 'planted bugs' };

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1..1000' },
    trace: { type: 'string', default: '0' },
    planted: { type: 'string' },
    parallel: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
  },
});
const failed =
  values.planted === undefined
    ? await runSeeds(values.seeds, Number(values.trace))
    : await runPlanted(Number(values.planted), Number(values.parallel), values.write);
process.exitCode = failed > 0 ? 1 : 0;

/** @returns how many failed */
async function runSeeds(range: string, lines: number): Promise<number> {
  const [first = 1, last = first] = range.split('..').map(Number);
  const startedAt = performance.now();
  const sum = new Map<string, number>();
  let failed = 0;
  const progress = (done: number): void => {
    const perSecond = (done / (performance.now() - startedAt)) * 1000;
    const cpuSeconds = process.cpuUsage().user / 1e6 / done;
    const speed = `${perSecond.toFixed(1)}/s, ${cpuSeconds.toFixed(3)} processor seconds each`;
    const counted = [...sum].map(([name, count]) => `${count} ${name}`).join(', ');
    print(`${done} seeds, ${failed} failed, ${speed}: ${counted}`);
  };
  for (let seed = first; seed <= last; seed++) {
    const outcome = await runSeed(seed, lines);
    const { hash, ...counts } = outcome.summary;
    for (const [name, count] of Object.entries(counts)) sum.set(name, (sum.get(name) ?? 0) + count);
    if (outcome.kind === 'failed') {
      failed++;
      for (const line of outcome.lines) print(line);
      const { error } = outcome;
      print(`seed ${seed} failed: ${error instanceof Error ? error.stack : String(error)}`);
      print(`again: SIM_SEED=${seed} npm test -- test/sim/sim.test.ts`);
    }
    if ((seed - first + 1) % 500 === 0) progress(seed - first + 1);
  }
  progress(last - first + 1);
  return failed;
}

/** @returns how many were not found */
async function runPlanted(limit: number, parallel: number, write: boolean): Promise<number> {
  const found = new Map<string, Found>();
  const names = Object.keys(plantedBugs);
  await seekAll(
    names,
    () => limit,
    (name, where) => {
      if (where !== undefined) found.set(name, where);
      print(`${where === undefined ? `not in ${limit}` : where.seeds}: ${name}`);
    },
    parallel,
  );
  const table = plantedTable(plantedBugs, found, limit);
  print(table);
  print(`${found.size} of ${names.length} found`);
  if (write) {
    const path = join(import.meta.dirname, '..', page.file);
    writeFileSync(path, replaced(readFileSync(path, 'utf8'), { ...page, print: () => table }));
  }
  return names.length - found.size;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
