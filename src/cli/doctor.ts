import type { Command } from 'commander';
import type { DirectoryReport } from '../server/inspection.ts';
import { Failure } from './failure.ts';
import { type Json, toJson } from './json.ts';
import { withJson } from './shared-options.ts';
import { fieldList, textTable } from './table.ts';
import { print, type Terminal } from './terminal.ts';

/** `dqlited doctor DIR`: what is in a data directory and what is wrong with it. */
export function addDoctorCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('doctor')
    .description('read the data directory of a stopped server and say what is wrong with it')
    .argument('<directory>', 'a --data-dir, of this server or of C dqlite')
    .addHelpText(
      'after',
      `
Changes nothing. The exit code is 1 when a server would not start on the directory.

Example:
  dqlited doctor /var/lib/dqlited`,
    );
  withJson(command).action(async (directory: string, options: { json?: boolean }) => {
    const { inspectDataDirectory } = await import('../server/inspection.ts');
    const report = await inspectDataDirectory(directory);
    await print(terminal, options.json ? `${toJson(reportJson(report))}\n` : reportText(report));
    if (!report.startable) throw new Failure(`a server does not start on ${report.directory}`);
  });
}

function reportText(report: DirectoryReport): string {
  const { identity, configuration } = report;
  const parts = [
    fieldList([
      ['directory', report.directory],
      ['in use by', report.inUseBy],
      ['server', identity === undefined ? 'not named' : `${identity.id} at ${identity.address}`],
      ['term', report.term === undefined ? 'unreadable' : String(report.term)],
      ['voted for', report.votedFor === undefined ? 'nobody' : String(report.votedFor)],
      ['log', logText(report)],
      ['members', configuration && `as of entry ${configuration.index}`],
    ]),
  ];
  if (configuration !== undefined) {
    const rows = configuration.value.servers.map(({ id, address, role }) => [
      String(id),
      address,
      role,
    ]);
    parts.push(textTable(['ID', 'ADDRESS', 'ROLE'], rows));
  }
  if (report.segments.length > 0) parts.push(segmentTable(report));
  if (report.snapshots.length > 0) parts.push(snapshotTable(report));
  parts.push(findingsText(report));
  return parts.join('\n');
}

function logText({ firstIndex, lastIndex, lastTerm }: DirectoryReport): string {
  if (firstIndex === undefined) return lastIndex === 0 ? 'empty' : `empty after entry ${lastIndex}`;
  return `entries ${firstIndex} to ${lastIndex}, the last of term ${lastTerm}`;
}

function segmentTable({ segments }: DirectoryReport): string {
  const rows = segments.map(({ name, entries, batches, usedBytes, fileBytes, end }) => [
    name,
    entries === undefined ? '-' : `${entries.first}-${entries.last}`,
    String(batches),
    `${usedBytes} of ${fileBytes}`,
    end,
  ]);
  return textTable(['SEGMENT', 'ENTRIES', 'BATCHES', 'BYTES', 'ENDS'], rows);
}

function snapshotTable({ snapshots }: DirectoryReport): string {
  const rows = snapshots.map(({ path, meta, fileBytes, compressed, damage }) => [
    path.slice(path.lastIndexOf('/') + 1),
    meta === undefined ? '-' : String(meta.index),
    meta === undefined ? '-' : String(meta.term),
    String(fileBytes),
    compressed === true ? 'lz4' : 'plain',
    damage?.what ?? 'whole',
  ]);
  return textTable(['SNAPSHOT', 'INDEX', 'TERM', 'BYTES', 'FORM', 'STATE'], rows);
}

function findingsText({ findings }: DirectoryReport): string {
  if (findings.length === 0) return 'nothing is wrong\n';
  return findings
    .map(({ severity, path, offset, what, nextStep }) => {
      const place = offset === undefined ? path : `${path} at byte ${offset}`;
      return `${severity}: ${place}: ${what}\n  ${nextStep}\n`;
    })
    .join('');
}

function reportJson(report: DirectoryReport): Json {
  const { configuration, findings, identity, segments, snapshots, ...plain } = report;
  return {
    ...plain,
    identity: identity && { ...identity },
    configuration: configuration && {
      index: configuration.index,
      servers: configuration.value.servers.map((server) => ({ ...server })),
    },
    segments: segments.map(({ entries, ...rest }) => ({
      ...rest,
      entries: entries && { ...entries },
    })),
    snapshots: snapshots.map(({ path, meta, fileBytes, contentBytes, compressed, damage }) => ({
      path,
      index: meta?.index,
      term: meta?.term,
      fileBytes,
      contentBytes,
      compressed,
      damage: damage?.what,
    })),
    findings: findings.map(({ severity, path, offset, what, nextStep }) => ({
      severity,
      path,
      offset,
      what,
      nextStep,
    })),
  };
}
