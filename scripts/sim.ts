/** `npm run sim`: simulated clusters by seed, or the hunt for planted bugs. --help lists the options. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { plantedBugs } from '../test/sim/planted-bugs.ts';
import { plantedTable } from '../test/sim/planted-table.ts';
import { runSeed } from '../test/sim/run-seed.ts';
import { type Found, seekAll } from '../test/sim/seek.ts';
import { replaced } from './docs.ts';

const page = { file: 'docs/simulation.md', marker: 'planted bugs' };

const program = new Command('npm run sim --')
  .description(
    'Runs simulated clusters by seed and says which failed, why, and what happened last; or plants one bug after the ' +
      'other and looks for each. Exits with 1 when a seed failed, or a bug was not found.',
  )
  .option('--seeds <a..b>', 'which seeds', rangeOf, [1, 1000])
  .option(
    '--trace <lines>',
    'how many lines of what happened last are shown of a failure',
    count,
    0,
  )
  .option('--planted <seeds>', 'look for the planted bugs instead, in at most so many seeds', count)
  .option('--parallel <n>', 'how many seeds at once, for planted bugs', count, 2)
  .option('--write', `put the table of planted bugs into ${page.file}`)
  .parse();
const { seeds, trace, planted, parallel, write } = program.opts<{
  readonly seeds: readonly [number, number];
  readonly trace: number;
  readonly planted?: number;
  readonly parallel: number;
  readonly write?: true;
}>();
const failed =
  planted === undefined
    ? await runSeeds(...seeds, trace)
    : await runPlanted(planted, parallel, write === true);
process.exitCode = failed > 0 ? 1 : 0;

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('Not a count.');
  return value;
}

function rangeOf(text: string): [number, number] {
  const [first = 1, last = first, ...more] = text.split('..').map(count);
  if (more.length > 0 || last < first) throw new InvalidArgumentError('Give it as 1..1000.');
  return [first, last];
}

/** @returns how many failed */
async function runSeeds(first: number, last: number, lines: number): Promise<number> {
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
