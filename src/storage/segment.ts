import type { Index, Term } from '../base/ids.ts';
import type { Entry } from '../raft/types.ts';
import { crc } from './crc.ts';

/**
 * A segment is a run of entries in batches, all little-endian:
 *
 *   u64 format     1; 0 while nothing was ever written
 *   batches, each
 *     u32 crc      of the count and the entry headers
 *     u32 crc      of the data
 *     u64 count
 *     count x { u64 term, u8 type, 3 zero bytes, u32 data length }
 *     data         of all entries, back to back
 *
 * Every length is a multiple of 8, so batches start on words. An open segment is longer than its batches and zero
 * behind them; a closed one ends with its last batch and says in its name which entries it holds. A batch is
 * written in one durable write and nothing is written behind it before it is durable: a whole batch behind a
 * damaged one proves that the damaged one was durable once.
 */
export const segmentFormat = 1;

/** Length of the format word: where the first batch starts. */
export const segmentHeaderBytes = 8;

/** The two checksums and the count. */
export const batchHeaderBytes = 16;

/** What each entry adds to the header of its batch. */
export const entryHeaderBytes = 16;

/** Upper bound of entries in a batch we believe in: keeps a bad count from looking like a huge batch. */
const batchEntriesLimit = 1 << 20;

/** Numbers of the entry types, as in the log so in the messages between nodes. */
const entryTypes = [undefined, 'command', 'barrier', 'change'] as const;
const typeNumbers = { command: 1, barrier: 2, change: 3 } as const;

/** What one entry takes in a batch. */
export function entryBytes(entry: Entry): number {
  return entryHeaderBytes + entry.data.length;
}

/** What a batch takes in a segment. */
export function batchBytes(entries: readonly Entry[]): number {
  let size = batchHeaderBytes;
  for (const entry of entries) size += entryBytes(entry);
  return size;
}

/** What the header of a batch takes. */
export function batchHeadersBytes(entries: readonly Entry[]): number {
  return batchHeaderBytes + entries.length * entryHeaderBytes;
}

/**
 * Writes the header of a batch, checksums included, at the start of `target`; returns its length. The data of
 * the entries, which has the checksum `dataCrc`, belongs directly behind it.
 */
export function encodeBatchHeader(
  entries: readonly Entry[],
  dataCrc: number,
  target: Buffer,
): number {
  let at = 8;
  target.writeUInt32LE(entries.length, at);
  target.writeUInt32LE(0, at + 4);
  at += 8;
  for (const entry of entries) {
    target.writeUInt32LE(entry.term % 2 ** 32, at);
    target.writeUInt32LE(Math.floor(entry.term / 2 ** 32), at + 4);
    target.writeUInt32LE(typeNumbers[entry.type], at + 8);
    target.writeUInt32LE(entry.data.length, at + 12);
    at += entryHeaderBytes;
  }
  target.writeUInt32LE(crc(target.subarray(8, at)), 0);
  target.writeUInt32LE(dataCrc, 4);
  return at;
}

/** A whole batch as one buffer. */
export function encodeBatch(entries: readonly Entry[]): Buffer {
  const bytes = Buffer.alloc(batchBytes(entries));
  let at = batchHeadersBytes(entries);
  for (const { data } of entries) at += data.copy(bytes, at);
  encodeBatchHeader(entries, crc(bytes.subarray(batchHeadersBytes(entries))), bytes);
  return bytes;
}

/** A whole segment as one buffer: for the first one of a log. */
export function encodeSegment(entries: readonly Entry[]): Buffer {
  const format = Buffer.alloc(segmentHeaderBytes);
  format.writeUInt32LE(segmentFormat, 0);
  return Buffer.concat([format, encodeBatch(entries)]);
}

/** How much of a batch its first 16 bytes announce; undefined when they announce none. */
export function batchCount(bytes: Buffer, remainingBytes: number): number | undefined {
  const count = bytes.readUInt32LE(8);
  if (count === 0 || bytes.readUInt32LE(12) !== 0 || count > batchEntriesLimit) return undefined;
  return batchHeaderBytes + count * entryHeaderBytes <= remainingBytes ? count : undefined;
}

/**
 * Whether a batch could start at `at`, judged by its count and first entry: cheap, for searching. `bytes` holds
 * at least that much.
 */
export function mayStartBatch(bytes: Buffer, at: number, remainingBytes: number): boolean {
  const count = bytes.readUInt32LE(at + 8);
  if (count === 0 || count > batchEntriesLimit || bytes.readUInt32LE(at + 12) !== 0) return false;
  if (batchHeaderBytes + count * entryHeaderBytes > remainingBytes) return false;
  const type = bytes.readUInt32LE(at + batchHeaderBytes + 8);
  const length = bytes.readUInt32LE(at + batchHeaderBytes + 12);
  return type >= 1 && type < entryTypes.length && length % 8 === 0 && length < remainingBytes;
}

/** Whether the checksum of a batch header holds. */
export function headerMatches(header: Buffer): boolean {
  return crc(header.subarray(8)) === header.readUInt32LE(0);
}

/** The length of the data that a checked batch header announces. */
export function batchDataBytes(header: Buffer): number {
  let size = 0;
  for (let at = batchHeaderBytes; at < header.length; at += entryHeaderBytes) {
    size += header.readUInt32LE(at + 12);
  }
  return size;
}

/** Whether the data behind a checked batch header is what was written. */
export function dataMatches(header: Buffer, data: Buffer): boolean {
  return crc(data) === header.readUInt32LE(4);
}

/** The entries of a checked batch, as views of `data`; the type of an entry that is none of ours is undefined. */
export function decodeEntries(header: Buffer, data: Buffer, first: Index): Entry[] | undefined {
  const entries: Entry[] = [];
  let from = 0;
  for (let at = batchHeaderBytes; at < header.length; at += entryHeaderBytes) {
    const term = header.readUInt32LE(at) + header.readUInt32LE(at + 4) * 2 ** 32;
    const type = entryTypes[header.readUInt8(at + 8)];
    if (type === undefined) return undefined;
    const to = from + header.readUInt32LE(at + 12);
    entries.push({
      index: (first + entries.length) as Index,
      term: term as Term,
      type,
      data: data.subarray(from, to),
    });
    from = to;
  }
  return entries;
}
