/** `npm run bench`: dqlited beside C dqlite. bench/README.md explains it; --help lists the options. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { type Cell, type Conditions, connectionCounts, targetOf, workloads } from './cells.ts';
import { cKind, type Kind, ourKind } from './kinds.ts';
import { buildLoad } from './load.ts';
import { measureAll, type Sample } from './measure.ts';
import { pictureOf } from './picture.ts';
import { perSecond, summarizeCells, titleOf } from './report.ts';
import { surroundingsFor } from './surroundings.ts';
import { number, tablesOf } from './table.ts';

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly workloads: readonly string[];
  readonly connections: readonly number[];
  readonly goals?: true;
  readonly quick?: true;
  readonly oursOnly?: true;
  readonly cOnly?: true;
  readonly cLibrary: readonly string[];
  readonly directory: string;
  readonly syncDelayMs: number;
  readonly networkDelayMs: number;
  readonly checkout?: string;
  readonly profile?: string;
  readonly json: string;
  readonly svg: string;
  readonly report?: readonly string[];
}

/** What a run leaves behind. */
interface Results {
  readonly date: string;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly conditions: Conditions;
  readonly seconds: number;
  readonly kinds: readonly string[];
  readonly samples: readonly Sample[];
}

const OURS = 'dqlited';
const results = join(import.meta.dirname, 'results');

const numbers = (text: string): number[] => text.split(',').map(positive);
const collect = (value: string, before: readonly string[]): string[] => [...before, value];

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${text} is not a number above 0`);
  return value;
}

function notNegative(text: string): number {
  return text === '0' ? 0 : positive(text);
}

const program = new Command('npm run bench --')
  .description(
    'Measures three servers of dqlited beside three of C dqlite, one kind after the other.',
  )
  .option('--rounds <n>', 'how often each kind is measured', positive, 5)
  .option('--seconds <n>', 'how long a cell is measured', positive, 3)
  .option(
    '--warm-up-seconds <n>',
    'how long each workload runs before anything is measured',
    notNegative,
    3,
  )
  .option('--workloads <list>', 'which', (text) => text.split(','), [...workloads])
  .option('--connections <list>', 'how many clients', numbers, [...connectionCounts])
  .option('--goals', 'only the cells that have a goal')
  .option('--quick', 'the cells that have a goal, two rounds of one second: about three minutes')
  .option('--ours-only', 'without C servers')
  .option('--c-only', 'without ours')
  .option('--c-library <dir>', 'also C servers with the libdqlite.so.0 in DIR', collect, [])
  .option('--checkout <dir>', 'our servers are those of another checkout')
  .option('--directory <dir>', 'where data directories are made: on a real disk', results)
  .option('--sync-delay-ms <ms>', 'what a flush of the disk takes longer (root)', positive, 0)
  .option(
    '--network-delay-ms <ms>',
    'what a packet between servers takes longer (root)',
    positive,
    0,
  )
  .option('--profile <dir>', 'our servers leave processor profiles in DIR')
  .option('--json <file>', 'where all samples go', join(results, 'latest.json'))
  .option('--svg <file>', 'where the picture goes', join(results, 'latest.svg'))
  .option('--report <files...>', 'measure nothing: report what earlier runs left in JSON files');

// A reader such as `head` may leave early.
process.stdout.on('error', () => process.exit(0));
try {
  program.parse();
  await main(program.opts<Options>());
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function main(options: Options): Promise<void> {
  const all = options.report === undefined ? await measure(options) : merge(options.report);
  write(options.json, JSON.stringify(all, null, 1));
  const cells = summarizeCells(all.samples, OURS, all.conditions);
  process.stdout.write(`\n${tablesOf(cells)}`);
  write(options.svg, pictureOf(cells, describe(all)));
  process.stdout.write(`\n${options.json}\n${options.svg}\n`);
}

async function measure(options: Options): Promise<Results> {
  const { syncDelayMs, networkDelayMs } = options;
  const conditions = { syncDelayMs, networkDelayMs };
  const seconds = options.quick ? 1 : options.seconds;
  const rounds = options.quick ? 2 : options.rounds;
  const kinds = kindsOf(options);
  const cells = cellsOf(options, conditions);
  buildLoad();
  mkdirSync(options.directory, { recursive: true });
  const surroundings = await surroundingsFor(conditions, resolve(options.directory));
  const samples = await measureAll(kinds, {
    cells,
    rounds,
    seconds,
    warmUpSeconds: options.quick ? 1 : options.warmUpSeconds,
    surroundings,
    onSample: tell,
  }).finally(() => surroundings.close());
  const names = kinds.map(({ name }) => name);
  return {
    date: new Date().toISOString(),
    machine: machine(resolve(options.checkout ?? import.meta.dirname)),
    conditions,
    seconds,
    kinds: names,
    samples,
  };
}

function kindsOf(options: Options): Kind[] {
  const { profile, checkout } = options;
  const own = {
    profile: profile && resolve(profile),
    checkout: checkout && resolve(checkout),
  };
  const ours = options.cOnly ? [] : [ourKind(own)];
  if (options.oursOnly) return ours;
  return [...ours, cKind(), ...options.cLibrary.map((folder) => cKind(resolve(folder)))];
}

function cellsOf(options: Options, conditions: Conditions): Cell[] {
  const wanted = workloads.filter((workload) => options.workloads.includes(workload));
  const unknown = options.workloads.find(
    (name) => !(workloads as readonly string[]).includes(name),
  );
  if (unknown !== undefined) throw new Error(`no workload ${unknown}: ${workloads.join(', ')}`);
  const all = wanted.flatMap((workload) =>
    options.connections.map((connections) => ({ workload, connections })),
  );
  const goalsOnly = options.quick || options.goals;
  return goalsOnly ? all.filter((cell) => targetOf(cell, conditions) !== undefined) : all;
}

/** One line for each sample as it comes. */
function tell(sample: Sample): void {
  const errors = Object.values(sample.load.errors).reduce((sum, count) => sum + count, 0);
  const failed = errors === 0 ? '' : `, ${errors} errors`;
  const figure = `${number(perSecond(sample))}/s, p99 ${number(sample.load.p99Us)} us${failed}`;
  process.stdout.write(
    `round ${sample.round + 1}  ${sample.kind.padEnd(12)} ${titleOf(sample).padEnd(26)} ${figure}\n`,
  );
}

function machine(checkout: string): Record<string, unknown> {
  return {
    commit: commit(checkout),
    processors: cpus().length,
    model: cpus()[0]?.model,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
  };
}

/** The commit that was measured; undefined outside a checkout. */
function commit(checkout: string): string | undefined {
  const args = ['describe', '--always', '--dirty'];
  const { status, stdout } = spawnSync('git', args, { cwd: checkout, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** Rounds of later files are counted on. */
function merge(files: readonly string[]): Results {
  const parts = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Results);
  const [first] = parts;
  if (first === undefined) throw new Error('--report needs files');
  let offset = 0;
  const samples = parts.flatMap((part) => {
    const rounds = 1 + Math.max(0, ...part.samples.map(({ round }) => round));
    const counted = part.samples.map((sample) => ({ ...sample, round: sample.round + offset }));
    offset += rounds;
    return counted;
  });
  const kinds = [...new Set(parts.flatMap((part) => part.kinds))];
  return { ...first, kinds, samples };
}

function describe(all: Results): string {
  const rounds = new Set(all.samples.map(({ round }) => round)).size;
  const { processors, model } = all.machine;
  const { syncDelayMs, networkDelayMs } = all.conditions;
  return [
    `median and spread of ${rounds} paired rounds of ${all.seconds} s`,
    ...(syncDelayMs > 0 ? [`${syncDelayMs} ms added to each flush`] : []),
    ...(networkDelayMs > 0 ? [`${networkDelayMs} ms added to each packet between servers`] : []),
    `${processors} x ${model}`,
    all.date.slice(0, 10),
  ].join('; ');
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
