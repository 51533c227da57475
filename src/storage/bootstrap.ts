import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { UsageError } from '../base/errors.ts';
import type { Index, ServerId, Term } from '../base/ids.ts';
import { encodeConfiguration } from '../protocol/configuration.ts';
import type { Configuration } from '../protocol/log.ts';
import { type Disk, writeWhole } from './disk.ts';
import { closedSegmentName, parseFileName } from './file-names.ts';
import { loadMetadata, storeMetadata } from './metadata.ts';
import { encodeSegment } from './segment.ts';

/** The id that go-dqlite gives to the first node of a cluster: generatedServerId('1', 0n). */
export const bootstrapServerId = 0x2dc171858c3155ben as ServerId;

/** Whether a directory holds no log, no snapshot and no vote yet. */
export async function isFresh(disk: Disk, directory: string): Promise<boolean> {
  const names = await disk.list(directory);
  if (names.some((name) => holdsLog(name))) return false;
  const { vote } = await loadMetadata(disk, directory, names);
  // Term 1 alone is a bootstrap that was interrupted between its two files.
  return vote.term <= 1 && vote.votedFor === undefined;
}

/**
 * Makes a fresh directory that of a server in a new cluster: term 1, and a log of one entry with the members. For
 * one server of the cluster only: the others start empty and are added.
 *
 * @throws UsageError when the directory is not fresh
 */
export async function bootstrap(
  disk: Disk,
  directory: string,
  configuration: Configuration,
): Promise<void> {
  if (!(await isFresh(disk, directory))) {
    throw new UsageError(`${directory} holds the data of a server: choose an empty directory`);
  }
  const names = await disk.list(directory);
  await removeUnfinished(disk, directory, names);
  const metadata = await loadMetadata(disk, directory, names);
  const vote = { term: 1 as Term, votedFor: undefined };
  if (metadata.vote.term < 1) await storeMetadata(disk, directory, metadata, vote);
  const first = 1 as Index;
  const data = encodeConfiguration(configuration);
  const segment = encodeSegment([{ index: first, term: 1 as Term, type: 'change', data }]);
  const temporary = join(directory, 'tmp-bootstrap');
  await writeWhole(disk, temporary, segment);
  await disk.rename(temporary, join(directory, closedSegmentName(first, first)));
  await disk.syncDirectory(directory);
}

/** What a bootstrap that was interrupted left half written. */
async function removeUnfinished(
  disk: Disk,
  directory: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    if (parseFileName(name).kind === 'temporary') await disk.remove(join(directory, name));
  }
}

/**
 * An id for a new server, as go-dqlite makes it: the last 8 bytes, little-endian, of SHA-1 over the address and the
 * nanoseconds since 1970 as u64.
 */
export function generatedServerId(address: string, nanoseconds: bigint): ServerId {
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE(nanoseconds);
  const digest = createHash('sha1').update(address).update(time).digest();
  return digest.readBigUInt64LE(digest.length - 8) as ServerId;
}

function holdsLog(name: string): boolean {
  const { kind } = parseFileName(name);
  return kind === 'closed' || kind === 'open' || kind === 'snapshot';
}
