import { join } from 'node:path';
import type { ServerId, Term } from '../base/ids.ts';
import type { Vote } from '../raft/types.ts';
import { type Disk, readWhole, writeWhole } from './disk.ts';
import { StorageError } from './errors.ts';

/**
 * Term and vote. Two files of 32 bytes, written in turn so that one is always whole:
 *
 *   u64 format    1
 *   u64 version   counts the stores; odd ones are in metadata1, even ones in metadata2
 *   u64 term
 *   u64 vote      id of the server voted for in this term, 0 for none
 *
 * There is no checksum; 32 bytes never cross a sector. A file is created under a temporary name, so that a crash
 * leaves it whole or absent.
 */
const metadataBytes = 32;

/** The newest metadata of a directory; version 0 when it has none. */
export interface Metadata {
  readonly version: number;
  readonly vote: Vote;
}

/** What is stored before the first store. */
export const noMetadata: Metadata = {
  version: 0,
  vote: { term: 0 as Term, votedFor: undefined },
};

/** The file that holds a version. */
export function metadataName(version: number): string {
  return version % 2 === 1 ? 'metadata1' : 'metadata2';
}

/** Makes the next version of the metadata durable. May be repeated after a failure on a full device. */
export async function storeMetadata(
  disk: Disk,
  directory: string,
  previous: Metadata,
  vote: Vote,
): Promise<Metadata> {
  const next = { version: previous.version + 1, vote };
  const path = join(directory, metadataName(next.version));
  if (next.version <= 2) await createFile(disk, directory, path, encodeMetadata(next));
  else await overwrite(disk, path, encodeMetadata(next));
  return next;
}

/** Makes durable what can be read: a store that was interrupted may have left it visible only. */
export async function syncMetadata(
  disk: Disk,
  directory: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    if (name !== 'metadata1' && name !== 'metadata2') continue;
    const file = await disk.openForWriting(join(directory, name));
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** The 32 bytes of a version. */
export function encodeMetadata({ version, vote }: Metadata): Buffer {
  const bytes = Buffer.alloc(metadataBytes);
  bytes.writeBigUInt64LE(1n, 0);
  bytes.writeBigUInt64LE(BigInt(version), 8);
  bytes.writeBigUInt64LE(BigInt(vote.term), 16);
  bytes.writeBigUInt64LE(vote.votedFor ?? 0n, 24);
  return bytes;
}

/**
 * Reads both files and returns the newest version.
 *
 * A server that forgets a vote can help to elect two leaders in one term. So the newest version must be certain:
 * metadata2 may be missing or cut off only while metadata1 holds the first version (a crash during the
 * second store), metadata1 only when there is nothing else (a crash during the first).
 *
 * @throws StorageError when the newest version is not certain.
 */
export async function loadMetadata(
  disk: Disk,
  directory: string,
  names: readonly string[],
): Promise<Metadata> {
  const one = await readVersion(disk, directory, names, 'metadata1');
  const two = await readVersion(disk, directory, names, 'metadata2');
  if (one && two) {
    if (Math.abs(one.version - two.version) === 1) return one.version > two.version ? one : two;
    const what = `versions ${one.version} and ${two.version} do not follow each other`;
    throw lost(join(directory, 'metadata2'), what);
  }
  if (one && one.version > 1) {
    throw lost(join(directory, 'metadata2'), `missing or cut off beside version ${one.version}`);
  }
  if (two)
    throw lost(join(directory, 'metadata1'), `missing or cut off beside version ${two.version}`);
  return one ?? noMetadata;
}

const nextStep =
  'Restore the file from a copy; or remove this server from the cluster, empty the directory and let it join again';

function lost(path: string, what: string): StorageError {
  return new StorageError(path, undefined, `term and vote are not certain: ${what}`, nextStep);
}

async function readVersion(
  disk: Disk,
  directory: string,
  names: readonly string[],
  name: string,
): Promise<Metadata | undefined> {
  if (!names.includes(name)) return undefined;
  const path = join(directory, name);
  const bytes = await readWhole(disk, path);
  if (bytes.length < metadataBytes || bytes.every((byte) => byte === 0)) return undefined;
  if (bytes.length > metadataBytes) {
    throw new StorageError(path, metadataBytes, `${bytes.length} bytes instead of 32`, nextStep);
  }
  const [format, version, term, votedFor] = [0, 8, 16, 24].map((at) => bytes.readBigUInt64LE(at));
  if (format !== 1n) throw new StorageError(path, 0, `unknown format ${format}`, nextStep);
  const metadata = {
    version: Number(version),
    vote: {
      term: Number(term) as Term,
      votedFor: votedFor === 0n ? undefined : (votedFor as ServerId),
    },
  };
  const inPlace = metadata.version >= 1 && metadataName(metadata.version) === name;
  if (!inPlace || !Number.isSafeInteger(metadata.version)) {
    throw new StorageError(path, 8, `version ${version} does not belong here`, nextStep);
  }
  if (!Number.isSafeInteger(metadata.vote.term)) {
    throw new StorageError(path, 16, `term ${term} is not possible`, nextStep);
  }
  return metadata;
}

async function createFile(
  disk: Disk,
  directory: string,
  path: string,
  bytes: Buffer,
): Promise<void> {
  const temporary = join(directory, 'tmp-metadata');
  await writeWhole(disk, temporary, bytes);
  try {
    await disk.rename(temporary, path);
  } catch (error) {
    await disk.remove(temporary).catch(() => {});
    throw error;
  }
  await disk.syncDirectory(directory);
}

async function overwrite(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  const file = await disk.openForWriting(path);
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}
