import { type CellSummary, type KindSummary, type Spread, titleOf } from './report.ts';

/** What a server may take more under load than idle. */
const MEMORY_MIB = 300;

type Row = readonly string[];

/** The tables of a report as text (Markdown, aligned for the terminal). */
export function tablesOf(cells: readonly CellSummary[]): string {
  const sections = [
    ['Throughput (operations a second)', throughput(cells)],
    [
      'Latency (of successful operations), and wait (from one success of a client to its next)',
      latency(cells),
    ],
    [
      'Writes, errors, and fairness (operations of the slowest client by those of the fastest)',
      fairness(cells),
    ],
    ['Processor time for each operation (us) and memory over idle', cost(cells)],
  ] as const;
  return [
    ...sections.map(([title, rows]) => `${title}\n\n${table(rows)}`),
    ...overall(cells).map((line) => `${line}\n`),
  ].join('\n');
}

/** Goals that are not of one cell. */
function overall(cells: readonly CellSummary[]): string[] {
  const above = (figure: (cell: CellSummary) => Spread | undefined): string =>
    cells
      .filter((cell) => (figure(cell)?.median ?? 0) > 1)
      .map(titleOf)
      .join('; ') || 'nowhere';
  const loaded = cells.filter(({ connections }) => connections === 64);
  const memory = Math.max(0, ...loaded.map(({ ours }) => ours?.memoryBytes.max ?? 0));
  return [
    `p99 above that of C: ${above(({ p99Ratio }) => p99Ratio)} (goal: nowhere)`,
    `p99 wait above that of C: ${above(({ p99WaitRatio }) => p99WaitRatio)}`,
    ...(memory > 0
      ? [
          `Memory over idle at 64 connections: ${mebibytes(memory)} MiB (goal: at most ${MEMORY_MIB})`,
        ]
      : []),
  ];
}

function throughput(cells: readonly CellSummary[]): Row[] {
  const others = Math.max(0, ...cells.map((cell) => cell.others.length));
  const head = ['cell', 'ours', ...Array.from({ length: others }, (_, i) => `C #${i + 1}`)];
  const rows = cells.map((cell) => [
    titleOf(cell),
    cell.ours === undefined ? '-' : number(cell.ours.perSecond.median),
    ...Array.from({ length: others }, (_, i) => namedThroughput(cell.others[i], others)),
    ratio(cell.ratio),
    cell.target === undefined
      ? ''
      : `>= ${cell.target.ratio}${cell.target.noErrors ? ', clean' : ''}`,
    cell.verdict ?? '',
  ]);
  return [[...head, 'ratio (min-max)', 'target', ''], ...rows];
}

function namedThroughput(summary: KindSummary | undefined, others: number): string {
  if (summary === undefined) return '-';
  const figure = number(summary.perSecond.median);
  return others > 1 ? `${figure} ${summary.kind}` : figure;
}

function latency(cells: readonly CellSummary[]): Row[] {
  const rows = cells.flatMap((cell) =>
    kindsOf(cell).map((summary) => [
      titleOf(cell),
      summary.kind,
      time(summary.p50Us.median),
      time(summary.p99Us.median),
      time(summary.maxUs.max),
      summary === cell.ours ? ratio(cell.p99Ratio) : '',
      time(summary.p99WaitUs.median),
      summary === cell.ours ? ratio(cell.p99WaitRatio) : '',
    ]),
  );
  return [
    ['cell', 'server', 'p50', 'p99', 'max', 'p99 by that of C', 'p99 wait', 'by that of C'],
    ...rows,
  ];
}

function fairness(cells: readonly CellSummary[]): Row[] {
  const rows = cells.flatMap((cell) =>
    kindsOf(cell).map((summary) => [
      titleOf(cell),
      summary.kind,
      number(summary.writesPerSecond.median),
      number(summary.errorsPerSecond.median),
      summary.errors.join('; '),
      cell.connections === 1 ? '' : number(summary.fairness.median),
      time(summary.longestWaitUs.max),
    ]),
  );
  const head = ['cell', 'server', 'writes/s', 'errors/s', 'texts', 'fairness', 'longest wait'];
  return [head, ...rows];
}

function cost(cells: readonly CellSummary[]): Row[] {
  const rows = cells.flatMap((cell) =>
    kindsOf(cell).map((summary) => [
      titleOf(cell),
      summary.kind,
      number(summary.leaderUs.median),
      number(summary.followerUs.median),
      number(summary.clientUs.median),
      `${mebibytes(summary.memoryBytes.max)} MiB`,
      `${mebibytes(summary.idleBytes.max)} MiB`,
    ]),
  );
  return [['cell', 'server', 'leader', 'follower', 'client', 'memory', 'idle'], ...rows];
}

function kindsOf(cell: CellSummary): KindSummary[] {
  return cell.ours === undefined ? [...cell.others] : [cell.ours, ...cell.others];
}

/** A Markdown table whose columns are as wide as their widest cell; figures, but in the first column, to the right. */
export function table(rows: readonly Row[]): string {
  const [head = []] = rows;
  const widths = head.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0), 3));
  const pad = (text: string, i: number): string =>
    i > 0 && /^[\d.∞-]/.test(text) ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0);
  const line = (row: Row): string => `| ${row.map(pad).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return `${[line(head), rule, ...rows.slice(1).map(line)].join('\n')}\n`;
}

/** Three digits that count: 0.123, 12.3, 12300. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '-' : '∞';
  if (value === 0) return '0';
  return String(Number(value.toPrecision(3)));
}

function ratio(spread: Spread | undefined): string {
  if (spread === undefined) return '';
  return `${number(spread.median)} (${number(spread.min)}-${number(spread.max)})`;
}

function time(microseconds: number): string {
  return microseconds < 1000 ? `${number(microseconds)} us` : `${number(microseconds / 1000)} ms`;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
