import { UsageError, WireError } from '../base/errors.ts';
import type { Index, ServerId, Term } from '../base/ids.ts';
import { decodeConfiguration } from '../protocol/configuration.ts';
import type { Configuration } from '../protocol/log.ts';
import { type Identity, readIdentity } from './app-files.ts';
import { directoryUser } from './directory-lock.ts';
import type { Disk } from './disk.ts';
import type { Finding } from './findings.ts';
import { firstIndex, type Survey, survey } from './survey.ts';
import type { SegmentReport } from './survey-segments.ts';
import type { SnapshotReport } from './survey-snapshots.ts';

/** A data directory as it is, and what is wrong with it. */
export interface DirectoryReport {
  readonly directory: string;
  /** Who uses it right now: then the rest may be a moment's view. */
  readonly inUseBy: string | undefined;
  readonly identity: Identity | undefined;
  /** Undefined when the metadata is damaged. */
  readonly term: Term | undefined;
  readonly votedFor: ServerId | undefined;
  readonly firstIndex: Index | undefined;
  readonly lastIndex: Index;
  readonly lastTerm: Term | undefined;
  /** The newest members in log and snapshot, committed or not, and the entry that holds them. */
  readonly configuration: { readonly index: Index; readonly value: Configuration } | undefined;
  /** In the order of their names. */
  readonly segments: readonly SegmentReport[];
  /** Newest first. */
  readonly snapshots: readonly SnapshotReport[];
  readonly findings: readonly Finding[];
  /** Whether a server starts on it without being told to sacrifice anything. */
  readonly startable: boolean;
}

/** Reads a directory of this server or of C dqlite, whole. Changes nothing in it. */
export async function inspectDirectory(disk: Disk, directory: string): Promise<DirectoryReport> {
  const found = await survey({ disk, directory, trailingEntries: undefined, allSnapshots: true });
  const findings = [...found.findings];
  const { log, metadata } = found;
  return {
    directory,
    inUseBy: await directoryUser(directory),
    identity: await identityOr(directory, findings),
    term: metadata?.vote.term,
    votedFor: metadata?.vote.votedFor,
    firstIndex: firstIndex(log),
    lastIndex: (log.next - 1) as Index,
    lastTerm: log.lastTerm ?? found.snapshot?.term,
    configuration: newestConfiguration(found),
    segments: [...log.segments].sort((a, b) => (a.name < b.name ? -1 : 1)),
    snapshots: found.snapshots,
    findings,
    startable: findings.every(({ severity }) => severity !== 'error'),
  };
}

async function identityOr(directory: string, findings: Finding[]): Promise<Identity | undefined> {
  try {
    return await readIdentity(directory);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const [what = '', nextStep = ''] = error.message.split(': ');
    findings.push({ severity: 'error', path: directory, offset: undefined, what, nextStep });
    return undefined;
  }
}

function newestConfiguration({ log, snapshot }: Survey): DirectoryReport['configuration'] {
  const { lastChange } = log;
  if (lastChange !== undefined && lastChange.index > (snapshot?.configurationIndex ?? 0)) {
    try {
      return { index: lastChange.index, value: decodeConfiguration(lastChange.data) };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }
  return snapshot && { index: snapshot.configurationIndex, value: snapshot.configuration };
}
