import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { pageBytes } from '../protocol/commands.ts';
import { count64, nameText } from '../protocol/kinds.ts';
import { padded, Writer } from '../protocol/words.ts';
import type { SnapshotData } from '../raft/types.ts';
import type { Database, Image } from '../vfs/database.ts';
import { nextTurn } from './next-turn.ts';

/**
 * The content of a snapshot, uncompressed, as C servers from 1.17 on write it:
 *
 *     u64 1                                  format
 *     u64 number of databases
 *     for each database
 *       text filename
 *       u64 size of the image, a whole number of pages
 *       u64 size of the write-ahead log: 0 (older servers: see snapshot-reader.ts)
 *       the image
 */
export const snapshotFormat = 1;

/** Pages copied between two turns of the event loop: well under a millisecond. */
const pagesPerSlice = 64;

/**
 * The committed state of `databases`, pinned now and read while writers go on. Holds one slice in memory. The
 * pins are freed by `release`.
 */
export function snapshotOf(databases: readonly Database[], clock: Clock): SnapshotData {
  const parts = databases.map((database) => ({
    name: database.name,
    image: database.pinCommitted(),
  }));
  let sizeBytes = 16;
  for (const { name, image } of parts) {
    sizeBytes += padded(name.length + 1) + 16 + image.pageCount * pageBytes;
  }
  let released = false;
  return {
    sizeBytes,
    async *chunks() {
      yield headOf(parts.length);
      for (const { name, image } of parts) {
        yield headOfDatabase(name, image);
        for (let first = 1; first <= image.pageCount; first += pagesPerSlice) {
          assert(!released, 'a snapshot is read before it is released');
          yield sliceOf(image, first);
          await nextTurn(clock);
        }
      }
    },
    release() {
      if (released) return;
      released = true;
      for (const { image } of parts) image.release();
    },
  };
}

/** Copies of the pages from `first` on, as many as one slice holds. */
export function sliceOf(image: Image, first: number): Buffer {
  const count = Math.min(pagesPerSlice, image.pageCount - first + 1);
  const slice = Buffer.allocUnsafe(count * pageBytes);
  for (let i = 0; i < count; i++) image.copyPage(first + i, slice, i * pageBytes);
  return slice;
}

function headOf(databases: number): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(snapshotFormat), 0);
  head.writeBigUInt64LE(BigInt(databases), 8);
  return head;
}

function headOfDatabase(name: string, image: Image): Buffer {
  const writer = new Writer();
  nameText.write(writer, name, 0);
  count64.write(writer, image.pageCount * pageBytes, 0);
  count64.write(writer, 0, 0);
  return writer.takeBytes();
}
