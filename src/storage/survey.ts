import { join } from 'node:path';
import type { Index } from '../base/ids.ts';
import type { SnapshotMeta } from '../raft/types.ts';
import type { Disk } from './disk.ts';
import { StorageError } from './errors.ts';
import { parseFileName } from './file-names.ts';
import { type Finding, type Repair, rejoin } from './findings.ts';
import { loadMetadata, type Metadata } from './metadata.ts';
import { type SegmentSurvey, surveySegments } from './survey-segments.ts';
import { type SnapshotSurvey, surveySnapshots } from './survey-snapshots.ts';

/** What a data directory holds, what is wrong with it, and what a start would change. */
export interface Survey {
  /** Undefined when it is damaged. */
  readonly metadata: Metadata | undefined;
  readonly snapshots: SnapshotSurvey['snapshots'];
  /** The snapshot that a start begins with. */
  readonly snapshot: SnapshotMeta | undefined;
  readonly log: SegmentSurvey;
  /** In the order in which they were met. Errors are in the way of a start. */
  readonly findings: readonly Finding[];
  /** To be carried out in this order; void while there are errors. */
  readonly repairs: readonly Repair[];
}

export interface SurveyOptions {
  readonly disk: Disk;
  readonly directory: string;
  /** How many entries before the snapshot are wanted; undefined: no entries at all. */
  readonly trailingEntries: number | undefined;
  /** Reads every snapshot, not only those that matter. */
  readonly allSnapshots: boolean;
}

/** Reads the whole directory (docs/storage-format.md, "Recovery"). Changes nothing. */
export async function survey(options: SurveyOptions): Promise<Survey> {
  const { disk, directory, trailingEntries } = options;
  const names = [...(await disk.list(directory))].sort();
  const findings: Finding[] = [];
  const repairs: Repair[] = removeTemporary(directory, names);
  const metadata = await metadataOr(disk, directory, names, findings);
  const found = await surveySnapshots(disk, directory, names, options.allSnapshots);
  const { chosen } = found;
  const log = await surveySegments({
    disk,
    directory,
    names,
    snapshot: chosen?.id,
    keepFrom:
      trailingEntries === undefined
        ? Number.POSITIVE_INFINITY
        : (chosen?.id.index ?? 0) + 1 - trailingEntries,
  });
  findings.push(...found.findings);
  repairs.push(...found.repairs);
  judgeDamagedSnapshots(found, log, findings, repairs);
  findings.push(...log.findings);
  repairs.push(...log.repairs);
  if (metadata) checkTerm(directory, metadata, found, log, findings);
  return { metadata, snapshots: found.snapshots, snapshot: chosen?.meta, log, findings, repairs };
}

function removeTemporary(directory: string, names: readonly string[]): Repair[] {
  return names
    .filter((name) => parseFileName(name).kind === 'temporary')
    .map((name) => ({ kind: 'remove', path: join(directory, name) }));
}

async function metadataOr(
  disk: Disk,
  directory: string,
  names: readonly string[],
  findings: Finding[],
): Promise<Metadata | undefined> {
  try {
    return await loadMetadata(disk, directory, names);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const { path, offset, what, nextStep } = error;
    findings.push({ severity: 'error', path, offset, what, nextStep });
    return undefined;
  }
}

/** A damaged snapshot can be done without when the log leads from the one before it to where it ends. */
function judgeDamagedSnapshots(
  found: SnapshotSurvey,
  log: SegmentSurvey,
  findings: Finding[],
  repairs: Repair[],
): void {
  const readable = log.findings.every(({ severity }) => severity !== 'error');
  for (const { id, path, damage } of found.damaged) {
    const replaceable = readable && log.next > id.index;
    findings.push({
      severity: replaceable ? 'warning' : 'error',
      path: damage?.path ?? path,
      offset: damage?.offset,
      what: damage?.what ?? 'the snapshot is damaged',
      nextStep: replaceable
        ? `${olderState(found)} and the log after it take its place; it is moved aside`
        : `${rejoin}. ${olderState(found)} and the log after it do not reach entry ${id.index}`,
    });
    repairs.push({ kind: 'moveAside', path }, { kind: 'moveAside', path: `${path}.meta` });
  }
}

function olderState(found: SnapshotSurvey): string {
  return found.chosen ? `The snapshot at entry ${found.chosen.id.index}` : 'The empty state';
}

/** The term is stored before any entry of it: a lower one is that of another time. */
function checkTerm(
  directory: string,
  metadata: Metadata,
  found: SnapshotSurvey,
  log: SegmentSurvey,
  findings: Finding[],
): void {
  const snapshotTerm = found.chosen?.id.term ?? 0;
  const highest = Math.max(log.highestTerm, snapshotTerm);
  if (metadata.vote.term >= highest) return;
  const what =
    metadata.version === 0
      ? `metadata1 and metadata2 are missing although there are entries of term ${highest}`
      : `term ${metadata.vote.term} is older than entries of term ${highest}`;
  findings.push({
    severity: 'error',
    path: join(directory, 'metadata1'),
    offset: undefined,
    what: `term and vote are lost: ${what}`,
    nextStep: rejoin,
  });
}

/** The index of the first entry of the log that a start would have; undefined when it has none. */
export function firstIndex(log: SegmentSurvey): Index | undefined {
  return log.closed[0]?.first;
}
