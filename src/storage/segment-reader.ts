import type { Index } from '../base/ids.ts';
import type { Entry } from '../raft/types.ts';
import type { ReadableFile } from './disk.ts';
import {
  batchCount,
  batchDataBytes,
  batchHeaderBytes,
  dataMatches,
  decodeEntries,
  entryHeaderBytes,
  headerMatches,
  mayStartBatch,
  segmentFormat,
  segmentHeaderBytes,
} from './segment.ts';

/** One whole batch of a segment. */
export interface Batch {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly entries: readonly Entry[];
}

/** How a segment ends behind its last whole batch. */
export type SegmentEnd =
  /** With that batch. */
  | { readonly kind: 'exact' }
  /** With zeros up to the end of the file: the space that an open segment has left. */
  | { readonly kind: 'zeros' }
  /** With bytes that are no batch. `wholeBatchAt`: where another whole batch lies behind them. */
  | {
      readonly kind: 'damaged';
      readonly offset: number;
      readonly what: string;
      readonly wholeBatchAt: number | undefined;
    };

/** What reading a segment to its end has shown. */
export interface SegmentScan {
  readonly batches: number;
  readonly entries: number;
  /** Where the last whole batch ends; 0 when there is not even the format word. */
  readonly usedBytes: number;
  readonly end: SegmentEnd;
}

/**
 * Reads a segment from its start, batch by batch, and hands each whole one to `visit`, its entries numbered
 * from `first`. Never holds more than a window of the file or the largest batch; entries are views of it.
 */
export async function scanSegment(
  file: ReadableFile,
  first: Index,
  visit: (batch: Batch) => void | Promise<void>,
): Promise<SegmentScan> {
  const window = new Window(file);
  const format = await readFormat(window);
  if (format !== undefined) return { batches: 0, entries: 0, usedBytes: 0, end: format };
  let offset = segmentHeaderBytes;
  let batches = 0;
  let entries = 0;
  for (;;) {
    const found = await readBatch(window, offset, (first + entries) as Index);
    if (found.kind !== 'batch') {
      const end = await judgeEnd(window, offset, found);
      return { batches, entries, usedBytes: offset, end };
    }
    await visit(found.batch);
    batches += 1;
    entries += found.batch.entries.length;
    offset += found.batch.sizeBytes;
  }
}

/** Whether a file holds nothing but zeros: an open segment that nothing was written to. */
export function isUnwritten(file: ReadableFile): Promise<boolean> {
  return new Window(file).isZeroFrom(0);
}

type Found =
  | { readonly kind: 'batch'; readonly batch: Batch }
  | { readonly kind: 'end' }
  | {
      readonly kind: 'damaged';
      readonly what: string;
      /** Where the following batch would start, when that much is certain. */
      readonly nextAt: number | undefined;
      /** The checksums hold: no crash did this. */
      readonly whole: boolean;
    };

/** A view of the file around the place that is being read. */
class Window {
  readonly sizeBytes: number;
  readonly #file: ReadableFile;
  #bytes: Buffer = Buffer.alloc(0);
  #from = 0;

  constructor(file: ReadableFile) {
    this.#file = file;
    this.sizeBytes = file.sizeBytes;
  }

  /** `length` bytes from `offset`, all of them inside the file. */
  async at(offset: number, length: number): Promise<Buffer> {
    const start = offset - this.#from;
    if (start >= 0 && start + length <= this.#bytes.length) {
      return this.#bytes.subarray(start, start + length);
    }
    const size = Math.min(Math.max(length, windowBytes), this.sizeBytes - offset);
    // A new buffer each time: the entries handed out are views of the old one.
    const bytes = Buffer.allocUnsafeSlow(size);
    const count = await this.#file.read(bytes, offset);
    if (count < size) bytes.fill(0, count);
    this.#bytes = bytes;
    this.#from = offset;
    return bytes.subarray(0, length);
  }

  /** Whether everything from `offset` on is zero. */
  async isZeroFrom(offset: number): Promise<boolean> {
    for (let at = offset; at < this.sizeBytes; at += windowBytes) {
      const bytes = await this.at(at, Math.min(windowBytes, this.sizeBytes - at));
      if (!isZero(bytes)) return false;
    }
    return true;
  }
}

const windowBytes = 1024 * 1024;

const zeros = Buffer.alloc(windowBytes);

function isZero(bytes: Buffer): boolean {
  return bytes.equals(zeros.subarray(0, bytes.length));
}

/** Undefined when the format word is ours, else how the segment ends without a batch. */
async function readFormat(window: Window): Promise<SegmentEnd | undefined> {
  if (window.sizeBytes === 0) return { kind: 'exact' };
  if (await window.isZeroFrom(0)) return { kind: 'zeros' };
  const word = await window.at(0, Math.min(segmentHeaderBytes, window.sizeBytes));
  const known = word.length === segmentHeaderBytes && word.readBigUInt64LE(0);
  if (known === BigInt(segmentFormat)) return undefined;
  const what =
    known === false ? 'the file is cut off in its first word' : `unknown segment format ${known}`;
  return {
    kind: 'damaged',
    offset: 0,
    what,
    wholeBatchAt: await findBatch(window, segmentHeaderBytes),
  };
}

async function readBatch(window: Window, offset: number, first: Index): Promise<Found> {
  const remaining = window.sizeBytes - offset;
  if (remaining <= 0) return { kind: 'end' };
  if (remaining < batchHeaderBytes) return cutOff;
  const count = batchCount(await window.at(offset, batchHeaderBytes), remaining);
  if (count === undefined) return damaged('a batch header is not possible');
  const headerBytes = batchHeaderBytes + count * entryHeaderBytes;
  const checked = await window.at(offset, headerBytes);
  if (!headerMatches(checked)) return damaged('the checksum of a batch header is wrong');
  const sizeBytes = headerBytes + batchDataBytes(checked);
  if (sizeBytes > remaining) return cutOff;
  const bytes = await window.at(offset, sizeBytes);
  const header = bytes.subarray(0, headerBytes);
  const data = bytes.subarray(headerBytes);
  if (!dataMatches(header, data)) {
    const what = 'the checksum of the data of a batch is wrong';
    return { kind: 'damaged', what, nextAt: offset + sizeBytes, whole: false };
  }
  const entries = decodeEntries(header, data, first);
  if (entries === undefined) {
    const what = 'a batch holds an entry of an unknown type';
    return { kind: 'damaged', what, nextAt: undefined, whole: true };
  }
  return { kind: 'batch', batch: { offset, sizeBytes, entries } };
}

function damaged(what: string): Found {
  return { kind: 'damaged', what, nextAt: undefined, whole: false };
}

const cutOff: Found = damaged('a batch is cut off by the end of the file');

async function judgeEnd(
  window: Window,
  offset: number,
  found: Exclude<Found, { kind: 'batch' }>,
): Promise<SegmentEnd> {
  if (found.kind === 'end') return { kind: 'exact' };
  if (await window.isZeroFrom(offset)) return { kind: 'zeros' };
  const { what, whole, nextAt } = found;
  const wholeBatchAt = whole ? offset : await findBatch(window, nextAt ?? offset + 8);
  return { kind: 'damaged', offset, what, wholeBatchAt };
}

/** The offset of the first whole batch at or behind `from`, found by its checksums. */
async function findBatch(window: Window, from: number): Promise<number | undefined> {
  const shortest = batchHeaderBytes + entryHeaderBytes;
  for (let start = from; start + shortest <= window.sizeBytes; start += searchStepBytes) {
    const length = Math.min(searchStepBytes + shortest, window.sizeBytes - start);
    const bytes = await window.at(start, length);
    for (let at = 0; at + shortest <= length; at += 8) {
      if (!mayStartBatch(bytes, at, window.sizeBytes - start - at)) continue;
      const found = await readBatch(window, start + at, 1 as Index);
      if (found.kind === 'batch') return start + at;
    }
  }
  return undefined;
}

const searchStepBytes = windowBytes / 2;
