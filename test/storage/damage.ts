import type { Index, ServerId, Term } from '../../src/base/ids.ts';
import { readWhole } from '../../src/storage/disk.ts';
import { closedSegmentName } from '../../src/storage/file-names.ts';
import { encodeMetadata } from '../../src/storage/metadata.ts';
import { MemoryDisk } from './memory-disk.ts';
import { append, content, entry, metaAt, storeOn, vote } from './store-support.ts';

export const directory = '/data';
export const segmentBytes = 256 * 1024;

/**
 * The directory of the damage table of docs/storage-format.md: closed segments with the entries 1-16 and 17-32,
 * open ones with 33-42, snapshots at 16 and 32.
 */
export async function makeDirectory(trailingEntries = 64): Promise<MemoryDisk> {
  const disk = new MemoryDisk([directory]);
  const store = storeOn(disk, directory, { segmentBytes, trailingEntries });
  await store.load();
  await store.persist(vote(1, 1n));
  for (let index = 1; index <= 42; index++) {
    await store.persist(append(entry(index, 1, 4144)));
    if (index === 16 || index === 32) {
      await store.writeSnapshot({ meta: metaAt(index, 1), data: content(stateAt(index)) });
    }
  }
  return disk;
}

export function stateAt(index: number): Buffer {
  return Buffer.alloc(100_000, `state at ${index} `);
}

export const first = `${directory}/${closedSegmentName(1 as Index, 16 as Index)}`;
export const second = `${directory}/${closedSegmentName(17 as Index, 32 as Index)}`;
export const newer = `${directory}/snapshot-1-32`;
export const older = `${directory}/snapshot-1-16`;
export const batchBytes = 16 + 16 + 4144;

/** The names that hold the parts of the directory; snapshots end in a time, open segments in a number. */
export async function pathOf(disk: MemoryDisk, start: string): Promise<string> {
  const names = (await disk.list(directory)).map((name) => `${directory}/${name}`);
  const path = names.sort().find((name) => name.startsWith(start) && !name.endsWith('.meta'));
  if (path === undefined) throw new Error(`no ${start}`);
  return path;
}

/** The open segment with data; the others are spares. */
export async function openPath(disk: MemoryDisk): Promise<string> {
  for (const name of await disk.list(directory)) {
    const path = `${directory}/${name}`;
    if (name.startsWith('open-') && (await readWhole(disk, path)).some((byte) => byte !== 0))
      return path;
  }
  throw new Error('no open segment with data');
}

export function flipAt(offset: number) {
  return (bytes: Buffer) => {
    bytes[offset] = (bytes[offset] ?? 0) ^ 4;
    return bytes;
  };
}

export interface Outcome {
  /** Snapshot, first and last entry after a start; or why there is none. */
  readonly loaded?: readonly [number, number, number];
  readonly refused?: { readonly path: string; readonly offset?: number; readonly what: RegExp };
  /** What is moved aside, without its time. */
  readonly aside?: readonly string[];
  /** The same with autoRecovery. */
  readonly automatic?: readonly [number, number, number];
}

export interface Row {
  readonly damage: string;
  readonly make: (disk: MemoryDisk) => Promise<void>;
  readonly outcome: Outcome | ((disk: MemoryDisk) => Promise<Outcome>);
}

/** Everything that was written: the newest snapshot, entries 1 to 42. */
export const all: readonly [number, number, number] = [32, 1, 42];

export function onOpen(change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => disk.damage(await openPath(disk), change);
}

export function onClosed(path: string, change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => disk.damage(path, change);
}

/** Of the last closed segment, when no snapshot covers it. */
export function onUncovered(change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => {
    await removeSnapshot(disk, newer);
    disk.damage(second, change);
  };
}

export async function removeSnapshot(disk: MemoryDisk, start: string): Promise<void> {
  const path = await pathOf(disk, start);
  await disk.remove(path);
  await disk.remove(`${path}.meta`);
}

/** A second store of term and vote, with its bytes changed. */
export function onMetadata(change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => {
    const file = await disk.create(`${directory}/metadata2`);
    await file.write(change(encodedVote(2)), 0);
  };
}

export function encodedVote(version: number): Buffer {
  return encodeMetadata({ version, vote: { term: 1 as Term, votedFor: 1n as ServerId } });
}

export function onSnapshot(start: string, suffix: string, change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => disk.damage(`${await pathOf(disk, start)}${suffix}`, change);
}
