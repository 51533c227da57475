import { type Cell, type Conditions, nameOf, type Target, targetOf, titles } from './cells.ts';
import type { Sample } from './measure.ts';

/** Middle, smallest and largest of some figures. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Of one kind in one cell, over all rounds. */
export interface KindSummary {
  readonly kind: string;
  readonly perSecond: Spread;
  /** Successful operations a second that changed something. */
  readonly writesPerSecond: Spread;
  readonly p50Us: Spread;
  readonly p99Us: Spread;
  readonly maxUs: Spread;
  readonly p99WaitUs: Spread;
  readonly longestWaitUs: Spread;
  /** Operations of the connection with the fewest by those of the one with the most: 1 is fair, 0 starved. */
  readonly fairness: Spread;
  readonly errorsPerSecond: Spread;
  readonly errors: readonly string[];
  /** Microseconds of processor for each successful operation. */
  readonly leaderUs: Spread;
  readonly followerUs: Spread;
  readonly clientUs: Spread;
  /** Most memory over idle of any server, in bytes. */
  readonly memoryBytes: Spread;
  /** Most memory of any server before any load, in bytes. */
  readonly idleBytes: Spread;
}

/** One cell: ours, the faster C version, and their ratio in each round. */
export interface CellSummary extends Cell {
  readonly ours: KindSummary | undefined;
  /** Every C version, the fastest first. */
  readonly others: readonly KindSummary[];
  /** Throughput of ours by that of the fastest C version, paired by round. */
  readonly ratio: Spread | undefined;
  /** p99 of ours by that of the same C version: less is better. */
  readonly p99Ratio: Spread | undefined;
  /** The same for what a client waits that repeats what failed. */
  readonly p99WaitRatio: Spread | undefined;
  readonly target: Target | undefined;
  readonly verdict: 'met' | 'missed' | undefined;
}

function groupBy<T>(values: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(key(value));
    if (group === undefined) groups.set(key(value), [value]);
    else group.push(value);
  }
  return groups;
}

/** Median: of an even number of values the mean of the middle two. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const isOdd = sorted.length % 2 === 1;
  const median = isOdd ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

/** Successful operations a second. */
export function perSecond(sample: Sample): number {
  return sample.load.operations / sample.load.seconds;
}

function errorCount(sample: Sample): number {
  return Object.values(sample.load.errors).reduce((sum, count) => sum + count, 0);
}

function cpuUs(sample: Sample, role: 'leader' | 'follower'): number {
  const servers = sample.servers.filter((server) => server.role === role);
  const sum = servers.reduce((total, server) => total + server.cpuUs, 0);
  return sum / servers.length / sample.load.operations;
}

/** What the rounds of one kind in one cell come to. */
export function summarize(samples: readonly Sample[]): KindSummary {
  const of = (figure: (sample: Sample) => number): Spread => spreadOf(samples.map(figure));
  const most = (sample: Sample, figure: (server: Sample['servers'][number]) => number): number =>
    Math.max(...sample.servers.map(figure));
  return {
    kind: samples[0]?.kind ?? '',
    perSecond: of(perSecond),
    writesPerSecond: of(({ load }) => load.writes / load.seconds),
    p50Us: of(({ load }) => load.p50Us),
    p99Us: of(({ load }) => load.p99Us),
    maxUs: of(({ load }) => load.maxUs),
    p99WaitUs: of(({ load }) => load.p99WaitUs),
    longestWaitUs: of(({ load }) => load.longestWaitUs),
    fairness: of(({ load }) => load.fewest / load.most),
    errorsPerSecond: of((sample) => errorCount(sample) / sample.load.seconds),
    errors: [...new Set(samples.flatMap(({ load }) => Object.keys(load.errors)))],
    leaderUs: of((sample) => cpuUs(sample, 'leader')),
    followerUs: of((sample) => cpuUs(sample, 'follower')),
    clientUs: of(({ load }) => load.clientCpuUs / load.operations),
    memoryBytes: of((sample) => most(sample, (server) => server.peakBytes - server.idleBytes)),
    idleBytes: of((sample) => most(sample, (server) => server.idleBytes)),
  };
}

/** All cells, in the order in which they were measured. `ours` is the name of our kind. */
export function summarizeCells(
  samples: readonly Sample[],
  ours: string,
  conditions: Conditions,
): CellSummary[] {
  const cells = [...groupBy(samples, nameOf).values()];
  return cells.map((ofCell) => summarizeCell(ofCell, ours, conditions));
}

function summarizeCell(
  samples: readonly Sample[],
  ours: string,
  conditions: Conditions,
): CellSummary {
  const [{ workload, connections }] = samples as readonly [Sample];
  const byKind = groupBy(samples, ({ kind }) => kind);
  const own = byKind.get(ours);
  byKind.delete(ours);
  const others = [...byKind.values()]
    .map(summarize)
    .sort((a, b) => b.perSecond.median - a.perSecond.median);
  const fastest = byKind.get(others[0]?.kind ?? '');
  const paired = (figure: (sample: Sample) => number): Spread | undefined =>
    own && fastest && pairedRatio(own, fastest, figure);
  const summary = own && summarize(own);
  const ratio = paired(perSecond);
  const target = targetOf({ workload, connections }, conditions);
  return {
    workload,
    connections,
    ours: summary,
    others,
    ratio,
    p99Ratio: paired(({ load }) => load.p99Us),
    p99WaitRatio: paired(({ load }) => load.p99WaitUs),
    target,
    verdict: summary && ratio && target && verdictOf(summary, ratio, target),
  };
}

/** Ratios of the rounds that both have. */
function pairedRatio(
  own: readonly Sample[],
  other: readonly Sample[],
  figure: (sample: Sample) => number,
): Spread | undefined {
  const ratios = own.flatMap((sample) => {
    const partner = other.find(({ round }) => round === sample.round);
    return partner === undefined ? [] : [figure(sample) / figure(partner)];
  });
  return ratios.length === 0 ? undefined : spreadOf(ratios);
}

function verdictOf(own: KindSummary, ratio: Spread, target: Target): 'met' | 'missed' {
  const isClean = !target.noErrors || own.errors.length === 0;
  return ratio.median >= target.ratio && isClean ? 'met' : 'missed';
}

/** `insert, 64 connections` */
export function titleOf(cell: Cell): string {
  return `${titles[cell.workload]}, ${cell.connections}`;
}
