import t from 'tap';
import { type Cell, nameOf, targetOf } from '../../bench/cells.ts';
import type { Sample } from '../../bench/measure.ts';
import { pictureOf } from '../../bench/picture.ts';
import { spreadOf, summarizeCells } from '../../bench/report.ts';
import { number, table, tablesOf } from '../../bench/table.ts';

const conditions = { syncDelayMs: 0, networkDelayMs: 0 };

interface Figures {
  readonly operations: number;
  readonly p99Us?: number;
  readonly errors?: Readonly<Record<string, number>>;
  readonly cell?: Cell;
}

/** A sample of two seconds on three servers. */
function sample(kind: string, round: number, figures: Figures): Sample {
  const { operations, p99Us = 100, errors = {} } = figures;
  const cell = figures.cell ?? { workload: 'insert', connections: 64 };
  const times = { p50Us: 50, p99Us, maxUs: 900, p99WaitUs: 2 * p99Us, longestWaitUs: 900 };
  const load = { seconds: 2, operations, writes: operations, ...times };
  const server = { cpuUs: 1000, idleBytes: 2 ** 20, peakBytes: 3 * 2 ** 20 };
  return {
    ...cell,
    kind,
    round,
    load: { ...load, fewest: 1, most: 4, errors, clientCpuUs: 10 * operations },
    servers: [
      { role: 'leader', ...server, cpuUs: 40 * operations },
      { role: 'follower', ...server, cpuUs: 10 * operations },
      { role: 'follower', ...server, cpuUs: 20 * operations },
    ],
  };
}

const only = (samples: readonly Sample[], under = conditions) => {
  const [cell] = summarizeCells(samples, 'ours', under);
  if (cell === undefined) throw new Error('no cell');
  return cell;
};

t.test('the median is the middle, or the mean of the middle two', (t) => {
  t.strictSame(spreadOf([5, 1, 3]), { median: 3, min: 1, max: 5 });
  t.strictSame(spreadOf([10, 9, 100, 1]), { median: 9.5, min: 1, max: 100 });
  t.end();
});

t.test('ratios are paired by round: what slows a whole round changes none', (t) => {
  const cell = only([
    sample('ours', 0, { operations: 1000 }),
    sample('C', 0, { operations: 100 }),
    sample('C', 1, { operations: 10 }),
    sample('ours', 1, { operations: 110 }),
    sample('ours', 2, { operations: 900 }),
    sample('C', 2, { operations: 100 }),
    sample('ours', 3, { operations: 900 }),
  ]);
  t.strictSame(cell.ratio, { median: 10, min: 9, max: 11 });
  t.equal(cell.ours?.perSecond.median, 450);
  t.end();
});

t.test('ratios are to the faster of several C versions', (t) => {
  const cell = only([
    sample('ours', 0, { operations: 1000, p99Us: 300 }),
    sample('old', 0, { operations: 50, p99Us: 1 }),
    sample('new', 0, { operations: 200, p99Us: 100 }),
  ]);
  t.strictSame(
    cell.others.map(({ kind }) => kind),
    ['new', 'old'],
  );
  t.equal(cell.ratio?.median, 5);
  t.equal(cell.p99Ratio?.median, 3);
  t.end();
});

t.test('processor time is that of one follower, and memory that of the largest server', (t) => {
  const { ours } = only([sample('ours', 0, { operations: 100 })]);
  t.equal(ours?.leaderUs.median, 40);
  t.equal(ours?.followerUs.median, 15);
  t.equal(ours?.memoryBytes.median, 2 * 2 ** 20);
  t.end();
});

t.test('a goal is met by its ratio and, where it says so, without any error', (t) => {
  const verdict = (operations: number, errors = {}): string | undefined =>
    only([sample('ours', 0, { operations, errors }), sample('C', 0, { operations: 100 })]).verdict;
  t.equal(targetOf({ workload: 'insert', connections: 64 }, conditions)?.ratio, 15);
  t.equal(verdict(1500), 'met');
  t.equal(verdict(1499), 'missed');
  t.equal(verdict(1500, { 'database is locked': 1 }), 'missed');
  t.end();
});

t.test('goals depend on the surroundings', (t) => {
  const cell: Cell = { workload: 'insert', connections: 64 };
  t.equal(targetOf(cell, { ...conditions, syncDelayMs: 1 })?.ratio, 25);
  t.equal(targetOf(cell, { ...conditions, syncDelayMs: 5 }), undefined);
  t.equal(targetOf(cell, { ...conditions, networkDelayMs: 1 }), undefined);
  t.end();
});

t.test('one kind alone has figures and no ratio', (t) => {
  const cell = only([sample('ours', 0, { operations: 10 })]);
  t.equal(cell.ratio, undefined);
  t.equal(cell.verdict, undefined);
  t.match(tablesOf([cell]), /insert, 64 +\| +5 \|/);
  t.end();
});

t.test('p99 above that of C is told, and so is the memory under load', (t) => {
  const told = (p99Us: number): string =>
    tablesOf([
      only([sample('ours', 0, { operations: 1, p99Us }), sample('C', 0, { operations: 1 })]),
    ]);
  t.match(told(101), 'p99 above that of C: insert, 64 (goal');
  t.match(told(101), 'p99 wait above that of C: insert, 64');
  t.match(told(100), 'p99 above that of C: nowhere');
  t.match(told(100), 'at 64 connections: 2 MiB');
  t.end();
});

t.test('cells keep the order in which they were measured', (t) => {
  const cells: Cell[] = [
    { workload: 'read', connections: 64 },
    { workload: 'insert', connections: 1 },
  ];
  const samples = cells.map((cell) => sample('ours', 0, { operations: 1, cell }));
  t.strictSame(summarizeCells(samples, 'ours', conditions).map(nameOf), ['read@64', 'insert@1']);
  t.end();
});

t.test('numbers have three digits that count', (t) => {
  const printed = [0, 0.12345, 12.345, 93_456, Number.POSITIVE_INFINITY, Number.NaN].map(number);
  t.strictSame(printed, ['0', '0.123', '12.3', '93500', '∞', '-']);
  t.end();
});

t.test('a table is Markdown with columns of one width', (t) => {
  const rows = [
    ['cell', 'ours'],
    ['insert, 1', '5'],
  ];
  t.equal(table(rows), '| cell      | ours |\n|-----------|------|\n| insert, 1 |    5 |\n');
  t.end();
});

t.test('the picture has a bar from 1 to the ratio, and the goal', (t) => {
  const cell = only([sample('ours', 0, { operations: 1000 }), sample('C', 0, { operations: 100 })]);
  const svg = pictureOf([cell], 'one & only');
  const at = (value: number): number => Number(position(svg, String(value)));
  const bar = /<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="14"/.exec(svg);
  t.equal(Number(bar?.[1]), at(1));
  t.ok(Math.abs(Number(bar?.[1]) + Number(bar?.[2]) - at(10)) < 0.2);
  t.match(svg, '>goal 15<');
  t.match(svg, 'one &amp; only');
  t.end();
});

t.test('a ratio to nothing is left out of the picture', (t) => {
  const cell = only([sample('ours', 0, { operations: 1000 }), sample('C', 0, { operations: 0 })]);
  t.equal(cell.ratio?.median, Number.POSITIVE_INFINITY);
  t.notMatch(pictureOf([cell], ''), /NaN|Infinity/);
  t.match(tablesOf([cell]), '∞');
  t.end();
});

/** Where the picture says that a power of ten is. */
function position(svg: string, label: string): string | undefined {
  return new RegExp(`<text x="([\\d.]+)"[^>]*middle[^>]*>${label}<`).exec(svg)?.[1];
}
