import type { Index } from '../../src/base/ids.ts';
import { readWhole } from '../../src/storage/disk.ts';
import { closedSegmentName } from '../../src/storage/file-names.ts';
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
const newer = `${directory}/snapshot-1-32`;
const older = `${directory}/snapshot-1-16`;
export const batchBytes = 16 + 16 + 4144;

/** The names that hold the parts of the directory; snapshots end in a time, open segments in a number. */
async function pathOf(disk: MemoryDisk, start: string): Promise<string> {
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

function flipAt(offset: number) {
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

const all: readonly [number, number, number] = [32, 1, 42];

function onOpen(change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => disk.damage(await openPath(disk), change);
}

function onClosed(path: string, change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => disk.damage(path, change);
}

function onSnapshot(start: string, suffix: string, change: (bytes: Buffer) => Buffer) {
  return async (disk: MemoryDisk) => disk.damage(`${await pathOf(disk, start)}${suffix}`, change);
}

export const rows: readonly Row[] = [
  { damage: 'none', make: async () => {}, outcome: { loaded: all } },
  {
    damage: 'open: bytes behind the last batch',
    make: onOpen((bytes) => bytes.fill(0xab, 8 + 10 * batchBytes, 8 + 10 * batchBytes + 100)),
    outcome: { loaded: all },
  },
  {
    damage: 'open: a bit of the last batch',
    make: onOpen(flipAt(8 + 9 * batchBytes + 1000)),
    outcome: { loaded: [32, 1, 41] },
  },
  {
    damage: 'open: a bit in the header of the last batch',
    make: onOpen(flipAt(8 + 9 * batchBytes + 9)),
    outcome: { loaded: [32, 1, 41] },
  },
  {
    damage: 'open: a bit of a middle batch',
    make: onOpen(flipAt(8 + 4 * batchBytes + 1000)),
    outcome: async (disk) => ({
      refused: {
        path: await openPath(disk),
        offset: 8 + 4 * batchBytes,
        what: /checksum of the data.* whole batch is at byte 20888/,
      },
      automatic: [32, 1, 36],
    }),
  },
  {
    damage: 'open: a bit in the header of a middle batch',
    make: onOpen(flipAt(8 + 4 * batchBytes + 9)),
    outcome: async (disk) => ({
      refused: { path: await openPath(disk), offset: 8 + 4 * batchBytes, what: /whole batch/ },
      automatic: [32, 1, 36],
    }),
  },
  {
    damage: 'open: cut inside a batch',
    make: onOpen((bytes) => bytes.subarray(0, 8 + 9 * batchBytes + 2000)),
    outcome: { loaded: [32, 1, 41] },
  },
  {
    damage: 'open: 8 zero bytes behind the last batch',
    make: onOpen((bytes) => bytes.subarray(0, 8 + 10 * batchBytes + 8)),
    outcome: { loaded: all },
  },
  {
    damage: 'open: cut behind the last batch',
    make: onOpen((bytes) => bytes.subarray(0, 8 + 10 * batchBytes)),
    outcome: { loaded: all },
  },
  { damage: 'open: empty', make: onOpen(() => Buffer.alloc(0)), outcome: { loaded: [32, 1, 32] } },
  {
    damage: 'open: shorter than its first word',
    make: onOpen((bytes) => bytes.subarray(0, 5)),
    outcome: { loaded: [32, 1, 32], aside: ['open'] },
  },
  {
    damage: 'open: unknown format',
    make: onOpen((bytes) => bytes.fill(7, 0, 8)),
    outcome: async (disk) => ({
      refused: { path: await openPath(disk), offset: 0, what: /unknown segment format/ },
      automatic: [32, 1, 32],
    }),
  },
  {
    damage: 'open: format 0 with data',
    make: onOpen((bytes) => bytes.fill(0, 0, 8)),
    outcome: async (disk) => ({
      refused: { path: await openPath(disk), offset: 0, what: /unknown segment format 0/ },
      automatic: [32, 1, 32],
    }),
  },
  {
    damage: 'open: the first blocks of its only write are missing',
    make: onOpen((bytes) => {
      const keep = bytes.subarray(4096, 8 + batchBytes);
      return Buffer.concat([Buffer.alloc(4096), keep, Buffer.alloc(8192)]);
    }),
    outcome: { loaded: [32, 1, 32], aside: ['open'] },
  },
  {
    damage: 'last closed: a bit',
    make: async (disk) => {
      for (const path of [await pathOf(disk, newer)]) {
        await disk.remove(path);
        await disk.remove(`${path}.meta`);
      }
      disk.damage(second, flipAt(5 * batchBytes));
    },
    outcome: {
      refused: { path: second, offset: 8 + 4 * batchBytes, what: /checksum of the data/ },
      automatic: [16, 1, 20],
    },
  },
  {
    damage: 'last closed: a bit, covered by the snapshot',
    make: onClosed(second, flipAt(5 * batchBytes)),
    outcome: { loaded: [32, 33, 42], aside: [closedSegmentName(17 as Index, 32 as Index)] },
  },
  {
    damage: 'last closed: zeros behind it',
    make: onClosed(second, (bytes) => Buffer.concat([bytes, Buffer.alloc(4096)])),
    outcome: { loaded: all },
  },
  {
    damage: 'last closed: a batch missing, not covered',
    make: async (disk) => {
      const path = await pathOf(disk, newer);
      await disk.remove(path);
      await disk.remove(`${path}.meta`);
      disk.damage(second, (bytes) => bytes.subarray(0, bytes.length - batchBytes));
    },
    outcome: {
      refused: {
        path: second,
        offset: 8 + 15 * batchBytes,
        what: /holds 15 entries, its name says 16/,
      },
      automatic: [16, 1, 31],
    },
  },
  {
    damage: 'last closed: empty, not covered',
    make: async (disk) => {
      const path = await pathOf(disk, newer);
      await disk.remove(path);
      await disk.remove(`${path}.meta`);
      disk.damage(second, () => Buffer.alloc(0));
    },
    outcome: {
      refused: { path: second, offset: 0, what: /holds 0 entries/ },
      automatic: [16, 1, 16],
    },
  },
  {
    damage: 'first closed: a bit',
    make: onClosed(first, flipAt(5 * batchBytes)),
    outcome: { loaded: [32, 17, 42], aside: [closedSegmentName(1 as Index, 16 as Index)] },
  },
  {
    damage: 'first closed: missing',
    make: async (disk) => disk.remove(first),
    outcome: { loaded: [32, 17, 42] },
  },
  {
    damage: 'last closed: missing, open ones present',
    make: async (disk) => disk.remove(second),
    outcome: {
      refused: { path: directory, what: /entries 17 to 32 are in no segment.*before what open-/ },
    },
  },
  {
    damage: 'newest snapshot: data missing',
    make: async (disk) => disk.remove(await pathOf(disk, newer)),
    outcome: { loaded: [16, 1, 42] },
  },
  {
    damage: 'newest snapshot: description missing',
    make: async (disk) => disk.remove(`${await pathOf(disk, newer)}.meta`),
    outcome: { loaded: [16, 1, 42], aside: ['snapshot-1-32'] },
  },
  {
    damage: 'newest snapshot: empty',
    make: onSnapshot(newer, '', () => Buffer.alloc(0)),
    outcome: { loaded: [16, 1, 42], aside: ['snapshot-1-32', 'snapshot-1-32.meta'] },
  },
  {
    damage: 'newest snapshot: cut',
    make: onSnapshot(newer, '', (bytes) => bytes.subarray(0, bytes.length - 20)),
    outcome: { loaded: [16, 1, 42], aside: ['snapshot-1-32', 'snapshot-1-32.meta'] },
  },
  {
    damage: 'newest snapshot: a bit',
    make: onSnapshot(newer, '', flipAt(60)),
    outcome: { loaded: [16, 1, 42], aside: ['snapshot-1-32', 'snapshot-1-32.meta'] },
  },
  {
    damage: 'newest snapshot: a bit of its checksum',
    make: onSnapshot(newer, '', (bytes) => flipAt(bytes.length - 1)(bytes)),
    outcome: { loaded: [16, 1, 42], aside: ['snapshot-1-32', 'snapshot-1-32.meta'] },
  },
  {
    damage: 'newest snapshot: a bit of its description',
    make: onSnapshot(newer, '.meta', flipAt(40)),
    outcome: { loaded: [16, 1, 42], aside: ['snapshot-1-32', 'snapshot-1-32.meta'] },
  },
  {
    damage: 'both snapshots: a bit',
    make: async (disk) => {
      disk.damage(await pathOf(disk, newer), flipAt(60));
      disk.damage(await pathOf(disk, older), flipAt(60));
    },
    outcome: {
      loaded: [0, 1, 42],
      aside: ['snapshot-1-16', 'snapshot-1-16.meta', 'snapshot-1-32', 'snapshot-1-32.meta'],
    },
  },
  {
    damage: 'newest snapshot: a bit, and the log behind the older one missing',
    make: async (disk) => {
      disk.damage(await pathOf(disk, newer), flipAt(60));
      await disk.remove(second);
      await disk.remove(first);
    },
    outcome: async (disk) => ({
      refused: { path: await pathOf(disk, newer), offset: 15, what: /decompressed|checksum/ },
    }),
  },
  {
    damage: 'both snapshots and the first segment missing',
    make: async (disk) => {
      for (const start of [newer, older]) {
        const path = await pathOf(disk, start);
        await disk.remove(path);
        await disk.remove(`${path}.meta`);
      }
      await disk.remove(first);
    },
    outcome: { refused: { path: directory, what: /entries 1 to 16 are in no segment/ } },
  },
  {
    damage: 'metadata missing',
    make: async (disk) => disk.remove(`${directory}/metadata1`),
    outcome: {
      refused: { path: `${directory}/metadata1`, what: /are missing although there are entries/ },
    },
  },
  {
    damage: 'left behind: temporary files and a description alone',
    make: async (disk) => {
      for (const name of ['tmp-open-9', 'tmp-snapshot-1', 'snapshot-1-50-7.meta']) {
        const file = await disk.create(`${directory}/${name}`);
        await file.write(Buffer.from('x'), 0);
      }
    },
    outcome: { loaded: all },
  },
];
