import { join } from 'node:path';
import type { SnapshotMeta } from '../raft/types.ts';
import { type Disk, readWhole } from './disk.ts';
import { StorageError } from './errors.ts';
import { parseFileName, type SnapshotId, snapshotName } from './file-names.ts';
import type { Finding, Repair } from './findings.ts';
import { compareSnapshots } from './snapshot-files.ts';
import { decodeSnapshotMeta, snapshotMetaBytesLimit } from './snapshot-meta.ts';
import { SnapshotReader } from './snapshot-reader.ts';

/** One snapshot as it was found: description and data are there, whether or not they are whole. */
export interface SnapshotReport {
  readonly id: SnapshotId;
  readonly path: string;
  readonly meta: SnapshotMeta | undefined;
  /** Length of the data file. */
  readonly fileBytes: number;
  readonly compressed: boolean | undefined;
  /** Length of the content; undefined when it was not read. */
  readonly contentBytes: number | undefined;
  readonly damage: SnapshotDamage | undefined;
}

interface SnapshotDamage {
  readonly path: string;
  readonly offset: number | undefined;
  readonly what: string;
}

export interface SnapshotSurvey {
  /** Newest first. */
  readonly snapshots: readonly SnapshotReport[];
  /** The newest whole one. */
  readonly chosen: (SnapshotReport & { readonly meta: SnapshotMeta }) | undefined;
  /** Newer than the chosen one, and damaged. */
  readonly damaged: readonly SnapshotReport[];
  readonly findings: readonly Finding[];
  readonly repairs: readonly Repair[];
}

/** Looks at the snapshots, newest first, until a whole one is found, or with `all` at each of them. */
export async function surveySnapshots(
  disk: Disk,
  directory: string,
  names: readonly string[],
  all: boolean,
): Promise<SnapshotSurvey> {
  const findings: Finding[] = [];
  const repairs: Repair[] = [];
  const snapshots: SnapshotReport[] = [];
  const damaged: SnapshotReport[] = [];
  let chosen: SnapshotSurvey['chosen'];
  for (const id of completeSnapshots(directory, names, findings, repairs)) {
    const report = await examine(disk, directory, id, chosen === undefined || all);
    if (report.fileBytes === 0) {
      setEmptyAside(report.path, findings, repairs);
      continue;
    }
    snapshots.push(report);
    const { damage, meta } = report;
    if (damage === undefined && meta !== undefined) chosen ??= { ...report, meta };
    else if (chosen === undefined) damaged.push(report);
    else setDamagedAside(report, findings, repairs);
  }
  return { snapshots, chosen, damaged, findings, repairs };
}

/** Those with description and data, newest first. */
function completeSnapshots(
  directory: string,
  names: readonly string[],
  findings: Finding[],
  repairs: Repair[],
): SnapshotId[] {
  const present = new Set(names);
  const ids: SnapshotId[] = [];
  for (const name of names) {
    const parsed = parseFileName(name);
    const path = join(directory, name);
    if (parsed.kind === 'snapshotMeta' && !present.has(snapshotName(parsed.id))) {
      findings.push({
        severity: 'note',
        path,
        offset: undefined,
        what: 'description of a snapshot whose data was never written or is removed',
        nextStep: 'The next start removes it',
      });
      repairs.push({ kind: 'remove', path });
    } else if (parsed.kind === 'snapshot') {
      if (present.has(`${name}.meta`)) {
        ids.push(parsed.id);
        continue;
      }
      findings.push({
        severity: 'warning',
        path,
        offset: undefined,
        what: 'data of a snapshot without its description',
        nextStep: 'The next start moves it aside',
      });
      repairs.push({ kind: 'moveAside', path });
    }
  }
  return ids.sort((a, b) => compareSnapshots(b, a));
}

function setEmptyAside(path: string, findings: Finding[], repairs: Repair[]): void {
  findings.push({
    severity: 'warning',
    path,
    offset: 0,
    what: 'the data of the snapshot is empty',
    nextStep: 'The next start moves it aside',
  });
  repairs.push({ kind: 'moveAside', path }, { kind: 'moveAside', path: `${path}.meta` });
}

/** One that is not needed, since a newer one is whole. */
function setDamagedAside(report: SnapshotReport, findings: Finding[], repairs: Repair[]): void {
  const { path, damage } = report;
  findings.push({
    severity: 'warning',
    path: damage?.path ?? path,
    offset: damage?.offset,
    what: damage?.what ?? 'the snapshot is damaged',
    nextStep: 'A newer snapshot is whole; the next start that notices moves this one aside',
  });
  repairs.push({ kind: 'moveAside', path }, { kind: 'moveAside', path: `${path}.meta` });
}

async function examine(
  disk: Disk,
  directory: string,
  id: SnapshotId,
  thoroughly: boolean,
): Promise<SnapshotReport> {
  const path = join(directory, snapshotName(id));
  const meta = await readMeta(disk, id, `${path}.meta`);
  const data = await readData(disk, path, thoroughly);
  const metaDamage =
    typeof meta === 'string' ? { path: `${path}.meta`, offset: 0, what: meta } : undefined;
  return {
    id,
    path,
    meta: typeof meta === 'string' ? undefined : meta,
    ...data,
    damage: metaDamage ?? data.damage,
  };
}

async function readMeta(disk: Disk, id: SnapshotId, path: string): Promise<SnapshotMeta | string> {
  const file = await disk.openForReading(path);
  const { sizeBytes } = file;
  await file.close();
  if (sizeBytes > snapshotMetaBytesLimit) return `${sizeBytes} bytes are too many`;
  return decodeSnapshotMeta(id, await readWhole(disk, path));
}

type DataReport = Pick<SnapshotReport, 'fileBytes' | 'compressed' | 'contentBytes' | 'damage'>;

async function readData(disk: Disk, path: string, thoroughly: boolean): Promise<DataReport> {
  const file = await disk.openForReading(path);
  const fileBytes = file.sizeBytes;
  await file.close();
  let compressed: boolean | undefined;
  try {
    const reader = await SnapshotReader.open(disk, path);
    compressed = reader.compressed;
    try {
      const contentBytes = thoroughly ? await reader.verify() : undefined;
      return { fileBytes, compressed, contentBytes, damage: undefined };
    } finally {
      await reader.close();
    }
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return { fileBytes, compressed, contentBytes: undefined, damage: error };
  }
}
