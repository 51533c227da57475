import type { Command } from 'commander';
import type { AppendTimes, DiskReport } from '../server/disk-check.ts';
import { integer } from '../server/setting-kinds.ts';
import { toJson } from './json.ts';
import { parserOf, withJson } from './shared-options.ts';
import { fieldList, textTable } from './table.ts';
import { print, type Terminal } from './terminal.ts';

interface CheckDiskOptions {
  readonly json?: boolean;
  readonly seconds: number;
}

const SECONDS = 6;
const MAX_SECONDS = 600;
/** A bar of the histogram. */
const BAR_WIDTH = 40;

/** `dqlited check disk DIR`: what the log can expect of a directory. */
export function addCheckCommands(program: Command, terminal: Terminal): void {
  const check = program.command('check').description('measure what this machine offers a server');
  const command = check
    .command('disk')
    .description('measure durable appends in a directory, on each way to write the log')
    .argument('<directory>', 'an existing directory, best a --data-dir')
    .option(
      '--seconds <N>',
      'how long to measure in all',
      parserOf(integer('N', 1, MAX_SECONDS)),
      SECONDS,
    )
    .addHelpText(
      'after',
      `
Writes 8 MiB to a temporary file and removes it. The exit code is 1 when nothing can be written there.

Example:
  dqlited check disk /var/lib/dqlited --json`,
    );
  withJson(command).action(async (directory: string, options: CheckDiskOptions) => {
    const { checkDirectory } = await import('../server/disk-check.ts');
    const report = await checkDirectory(directory, options.seconds);
    await print(terminal, options.json ? `${toJson(reportJson(report))}\n` : reportText(report));
  });
}

function reportText(report: DiskReport): string {
  const { backends, directIo, directory } = report;
  const ring = backends.find(({ backend }) => backend === 'io_uring');
  const fields = fieldList([
    ['directory', directory],
    ['direct I/O', directIo ? 'yes' : 'no: the log goes through the page cache, as durably'],
    ['device', report.needsFlush ? 'flushed for each append' : 'durable without a flush'],
    ['io_uring', ring?.obstacle === undefined ? 'yes' : `no: ${ring.obstacle}`],
    ['expect', expectation(report)],
  ]);
  const rows = backends.flatMap(({ backend, obstacle, appends }) =>
    obstacle === undefined
      ? appends.map((times) => [backend, ...cells(times)])
      : [[backend, `does not work: ${obstacle}`]],
  );
  const header = ['LOG ON', 'APPEND', 'P50', 'P99', 'MAX', 'A SECOND', 'MEASURED'];
  return `${fields}\n${textTable(header, rows)}\n${histogramText(report)}`;
}

function cells({ sizeBytes, p50Us, p99Us, maxUs, perSecond, count }: AppendTimes): string[] {
  const size = `${sizeBytes / 1024} KiB`;
  return [size, `${p50Us} us`, `${p99Us} us`, `${maxUs} us`, String(perSecond), String(count)];
}

/** What the first back end that works says of a server: one append is one transaction, or many that wait. */
function expectation({ backends }: DiskReport): string {
  const best = backends.find(({ obstacle }) => obstacle === undefined);
  const [page, group] = best?.appends ?? [];
  if (best === undefined || page === undefined || group === undefined) return 'nothing works here';
  const pages = Math.round((group.perSecond * group.sizeBytes) / page.sizeBytes);
  return `on ${best.backend} up to ${page.perSecond} one-page transactions a second from one client, ${pages} from many`;
}

/** The distribution of the append that every transaction waits for; the bars are the first back end's. */
function histogramText({ backends }: DiskReport): string {
  const measured = backends.flatMap(({ backend, appends: [page] }) =>
    page === undefined ? [] : [{ backend, counts: countsOf(page) }],
  );
  const best = measured[0];
  if (best === undefined) return '';
  const bounds = [...new Set(measured.flatMap(({ counts }) => [...counts.keys()]))];
  const most = Math.max(...best.counts.values());
  const rows = bounds
    .sort((a, b) => a - b)
    .map((upToUs) => [
      `<= ${upToUs} us`,
      ...measured.map(({ counts }) => String(counts.get(upToUs) ?? 0)),
      '#'.repeat(Math.ceil(((best.counts.get(upToUs) ?? 0) * BAR_WIDTH) / most)),
    ]);
  const names = measured.map(({ backend }) => backend);
  return textTable(['4 KiB', ...names, `of ${best.backend}`], rows);
}

function countsOf({ histogram }: AppendTimes): Map<number, number> {
  return new Map(histogram.map(({ upToUs, count }) => [upToUs, count]));
}

function reportJson(report: DiskReport): Parameters<typeof toJson>[0] {
  return {
    directory: report.directory,
    directIo: report.directIo,
    needsFlush: report.needsFlush,
    backends: report.backends.map(({ backend, obstacle, appends }) => ({
      backend,
      obstacle,
      appends: appends.map(({ histogram, ...times }) => ({
        ...times,
        histogram: histogram.map((bucket) => ({ ...bucket })),
      })),
    })),
  };
}
