import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UsageError } from '../base/errors.ts';
import type { Index, Term } from '../base/ids.ts';
import { nullLogger } from '../base/logger.ts';
import { encodeConfiguration } from '../protocol/configuration.ts';
import type { Server } from '../protocol/log.ts';
import type { Identity } from '../storage/app-files.ts';
import { DataDirectory } from '../storage/directory.ts';
import { inspectDirectory } from '../storage/inspect.ts';
import { NodeDisk } from '../storage/node-disk.ts';
import { nodeClock } from './node-clock.ts';
import { openRaftStore } from './raft-storage.ts';

/** What a recovery changes in a data directory, or would. */
export interface Recovery {
  readonly directory: string;
  readonly identity: Identity | undefined;
  readonly before: readonly Server[];
  readonly after: readonly Server[];
  /** The newest entry that is there now; whoever has the highest of these among the servers is to be recovered. */
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  /** The entry that is added, and its term. */
  readonly index: Index;
  readonly term: Term;
}

/** A block of the log, which C dqlite reads the entry with at once. */
const MAX_CONFIGURATION_BYTES = 4056;

/**
 * Gives the stopped server of a data directory new members, without asking the old ones: for a cluster that has lost
 * its majority for good. One entry with the members is added to the log, in a term of its own: newer than every entry
 * that a server left behind may hold, so that none of them can win an election against it. (C dqlite writes term 1
 * there, with which an old server wins; it accepts the higher one.) Term and entry are the same whoever computes
 * them from the same directory.
 *
 * @throws UsageError when the members make no sense, or the directory is in use, damaged or empty
 */
export async function recoverDataDirectory(
  path: string,
  members: readonly Server[],
  options: { readonly dryRun: boolean },
): Promise<Recovery> {
  checkMembers(members);
  await mustExist(path);
  const directory = await DataDirectory.open(path);
  try {
    const recovery = await plan(directory, members);
    if (!options.dryRun) await carryOut(directory, recovery);
    return recovery;
  } finally {
    await directory.close();
  }
}

function checkMembers(members: readonly Server[]): void {
  if (!members.some(({ role }) => role === 'voter')) {
    throw new UsageError('a cluster needs a voter: name one with --member ID=ADDRESS');
  }
  for (const key of ['id', 'address'] as const) {
    const seen = new Set(members.map((member) => member[key]));
    if (seen.size < members.length) throw new UsageError(`two --member have the same ${key}`);
  }
  if (encodeConfiguration({ servers: members }).length > MAX_CONFIGURATION_BYTES) {
    throw new UsageError(
      'so many members do not fit into one entry: name fewer, and add the others',
    );
  }
}

async function plan(directory: DataDirectory, after: readonly Server[]): Promise<Recovery> {
  const report = await inspectDirectory(new NodeDisk(), directory.path);
  const { configuration, identity, lastIndex, lastTerm, startable, term } = report;
  if (!startable || term === undefined) {
    throw new UsageError(
      `${directory.path} is damaged: \`dqlited doctor ${directory.path}\` says where and what to do`,
    );
  }
  if (lastTerm === undefined || lastIndex === 0) {
    throw new UsageError(`${directory.path} holds no log: recover a server that was a member`);
  }
  if (identity !== undefined && !after.some(({ id }) => id === identity.id)) {
    throw new UsageError(
      `${directory.path} belongs to server ${identity.id}: name it with --member ${identity.id}=${identity.address}`,
    );
  }
  return {
    directory: directory.path,
    identity,
    before: configuration?.value.servers ?? [],
    after,
    lastIndex,
    lastTerm,
    index: (lastIndex + 1) as Index,
    term: (term + 1) as Term,
  };
}

/** The log is opened as by a start, so that what a crash left is repaired, and closed as by a stop. */
async function carryOut(directory: DataDirectory, recovery: Recovery): Promise<void> {
  const { after, identity, index, term } = recovery;
  const options = {
    directory: directory.path,
    disk: 'node',
    trailingEntries: 0,
    autoRecovery: false,
  } as const;
  const store = openRaftStore(options, nodeClock, nullLogger);
  try {
    await store.load();
    await store.persist({
      write: 1,
      vote: { term, votedFor: undefined },
      snapshot: undefined,
      truncateFrom: undefined,
      append: [{ index, term, type: 'change', data: encodeConfiguration({ servers: after }) }],
      // biome-ignore lint/suspicious/noThenProperty: the port calls it so, and nobody awaits a write
      then: [],
    });
  } finally {
    await store.close();
  }
  await directory.writeCluster(after);
  const self = after.find(({ id }) => id === identity?.id);
  if (self !== undefined) await directory.writeIdentity({ id: self.id, address: self.address });
  await directory.markJoining(false);
}

async function mustExist(path: string): Promise<void> {
  const found = await stat(resolve(path)).catch(() => undefined);
  if (found?.isDirectory() !== true) {
    throw new UsageError(`there is no directory ${path}: name the --data-dir of a stopped server`);
  }
}
