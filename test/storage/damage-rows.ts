import type { Index } from '../../src/base/ids.ts';
import { closedSegmentName } from '../../src/storage/file-names.ts';
import {
  all,
  batchBytes,
  directory,
  encodedVote,
  first,
  flipAt,
  newer,
  older,
  onClosed,
  onMetadata,
  onOpen,
  onSnapshot,
  onUncovered,
  openPath,
  pathOf,
  type Row,
  removeSnapshot,
  second,
} from './damage.ts';

/** The damage table of docs/storage-format.md. */
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
    damage: 'open: 16 zero bytes behind the last batch',
    make: onOpen((bytes) => bytes.subarray(0, 8 + 10 * batchBytes + 16)),
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
    make: onUncovered(flipAt(5 * batchBytes)),
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
    make: onUncovered((bytes) => bytes.subarray(0, bytes.length - batchBytes)),
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
    make: onUncovered(() => Buffer.alloc(0)),
    outcome: {
      refused: { path: second, offset: 0, what: /holds 0 entries/ },
      automatic: [16, 1, 16],
    },
  },
  {
    damage: 'last closed: cut inside a batch, not covered',
    make: onUncovered((bytes) => bytes.subarray(0, bytes.length - 2000)),
    outcome: {
      refused: {
        path: second,
        offset: 8 + 15 * batchBytes,
        what: /cut off by the end of the file/,
      },
      automatic: [16, 1, 31],
    },
  },
  {
    damage: 'last closed: cut inside a batch, covered by the snapshot',
    make: onClosed(second, (bytes) => bytes.subarray(0, bytes.length - 2000)),
    outcome: { loaded: [32, 33, 42], aside: [closedSegmentName(17 as Index, 32 as Index)] },
  },
  {
    damage: 'last closed: a batch missing, covered by the snapshot',
    make: onClosed(second, (bytes) => bytes.subarray(0, bytes.length - batchBytes)),
    outcome: { loaded: [32, 33, 42], aside: [closedSegmentName(17 as Index, 32 as Index)] },
  },
  {
    damage: 'last closed: empty, covered by the snapshot',
    make: onClosed(second, () => Buffer.alloc(0)),
    outcome: { loaded: [32, 33, 42], aside: [closedSegmentName(17 as Index, 32 as Index)] },
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
    damage: 'both snapshots: missing',
    make: async (disk) => {
      for (const start of [newer, older]) await removeSnapshot(disk, start);
    },
    outcome: { loaded: [0, 1, 42] },
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
      for (const start of [newer, older]) await removeSnapshot(disk, start);
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
    damage: 'metadata: the newer file cut short',
    make: async (disk) => {
      await onMetadata((bytes) => bytes)(disk);
      disk.damage(`${directory}/metadata1`, () => encodedVote(3).subarray(0, 31));
    },
    outcome: {
      refused: { path: `${directory}/metadata1`, what: /cut off beside version 2/ },
    },
  },
  {
    damage: 'metadata: too long',
    make: onMetadata((bytes) => Buffer.concat([bytes, Buffer.alloc(8)])),
    outcome: {
      refused: { path: `${directory}/metadata2`, offset: 32, what: /40 bytes instead of 32/ },
    },
  },
  {
    damage: 'metadata: unknown format',
    make: onMetadata((bytes) => bytes.fill(7, 0, 8)),
    outcome: { refused: { path: `${directory}/metadata2`, offset: 0, what: /unknown format/ } },
  },
  {
    damage: 'metadata: the same version twice',
    make: onMetadata(() => encodedVote(1)),
    outcome: {
      refused: {
        path: `${directory}/metadata2`,
        offset: 8,
        what: /version 1 does not belong here/,
      },
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
