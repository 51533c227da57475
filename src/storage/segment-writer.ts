import { assert } from '../base/assert.ts';
import type { Entry } from '../raft/types.ts';
import { crc } from './crc.ts';
import { blockBytes, type Disk, type LogFile } from './disk.ts';
import {
  batchBytes,
  batchHeadersBytes,
  encodeBatchHeader,
  segmentFormat,
  segmentHeaderBytes,
} from './segment.ts';
import type { Space } from './space.ts';
import type { SpareSegment } from './spare-segments.ts';
import type { StallWatch } from './stall-watch.ts';

/** A batch up to this size leaves in one write. Larger is only a batch of one large entry: it takes several. */
export const batchBytesLimit = 1024 * 1024;

/** The last block, and a batch behind it. */
const bufferBytes = batchBytesLimit + 2 * blockBytes;

/** A segment that is written to no more. */
export interface FinishedSegment {
  readonly path: string;
  readonly file: LogFile;
  /** As long as its batches need. */
  readonly usedBytes: number;
}

/** What the next write goes to. */
interface Current extends FinishedSegment {
  readonly sizeBytes: number;
  usedBytes: number;
}

/**
 * Writes batches to one open segment after the other, each durable before `append` resolves. A write starts
 * at the block in which the batch before ends: that block's bytes are kept and written again, the same, so that
 * a torn write cannot harm them.
 */
export class SegmentWriter {
  readonly #disk: Disk;
  readonly #space: Space;
  readonly #watch: StallWatch;
  readonly #crc: (bytes: Uint8Array, previous: number) => number;
  /** Starts with the bytes of the last, partial block. Made when the first segment begins. */
  #buffer: Buffer = Buffer.alloc(0);
  /** How many bytes of the buffer are filled. */
  #filled = 0;
  #current: Current | undefined;

  constructor(disk: Disk, space: Space, watch: StallWatch) {
    this.#disk = disk;
    this.#space = space;
    this.#watch = watch;
    this.#crc = disk.crc ?? crc;
  }

  /** Whether a batch of this size can go to the segment that is being written. */
  hasRoomFor(sizeBytes: number): boolean {
    return this.#current !== undefined && leavesValidRest(this.#current, sizeBytes);
  }

  /** Goes on with `spare`, whose first batch has this size. The segment before must have been finished. */
  async begin(spare: SpareSegment, firstBatchBytes: number): Promise<void> {
    assert(this.#current === undefined, 'a segment is being written');
    if (this.#buffer.length === 0) this.#buffer = this.#disk.allocate(bufferBytes);
    const { path } = spare;
    let { file, sizeBytes } = spare;
    if (!leavesValidRest({ sizeBytes, usedBytes: segmentHeaderBytes }, firstBatchBytes)) {
      sizeBytes = sizeFor(segmentHeaderBytes + firstBatchBytes);
      await file.close();
      await this.#space.patiently(() => this.#extend(path, sizeBytes));
      file = await this.#disk.openLog(path);
    }
    this.#current = { path, file, sizeBytes, usedBytes: segmentHeaderBytes };
    this.#buffer.fill(0, 0, segmentHeaderBytes);
    this.#buffer.writeUInt32LE(segmentFormat, 0);
    this.#filled = segmentHeaderBytes;
  }

  /** Writes one batch behind the last, there must be room for it. */
  append(entries: readonly Entry[]): Promise<void> {
    const current = this.#current;
    const size = batchBytes(entries);
    assert(current !== undefined && leavesValidRest(current, size), 'no room for this batch');
    assert(batchHeadersBytes(entries) <= batchBytesLimit, 'too many entries for one batch');
    return this.#filled + size <= this.#buffer.length
      ? this.#appendInOne(entries, current, size)
      : this.#appendInParts(entries, current, size);
  }

  async #appendInOne(entries: readonly Entry[], current: Current, size: number): Promise<void> {
    const start = this.#filled;
    const dataStart = start + batchHeadersBytes(entries);
    this.#filled = dataStart;
    for (const { data } of entries) this.#filled += data.copy(this.#buffer, this.#filled);
    const dataCrc = this.#crc(this.#buffer.subarray(dataStart, this.#filled), 0);
    encodeBatchHeader(entries, dataCrc, this.#buffer.subarray(start));
    await this.#writeFilled(current, floorToBlock(current.usedBytes));
    current.usedBytes += size;
    this.#keepLastBlock();
  }

  /** A batch of one entry that is larger than the buffer. */
  async #appendInParts(entries: readonly Entry[], current: Current, size: number): Promise<void> {
    const dataCrc = entries.reduce((sum, { data }) => this.#crc(data, sum), 0);
    this.#filled += encodeBatchHeader(entries, dataCrc, this.#buffer.subarray(this.#filled));
    let fileOffset = floorToBlock(current.usedBytes);
    for (const { data } of entries) {
      for (let from = 0; from < data.length; ) {
        if (this.#filled === this.#buffer.length) {
          await this.#write(current, this.#buffer, fileOffset);
          fileOffset += this.#filled;
          this.#filled = 0;
        }
        const copied = data.copy(this.#buffer, this.#filled, from);
        from += copied;
        this.#filled += copied;
      }
    }
    await this.#writeFilled(current, fileOffset);
    current.usedBytes += size;
    this.#keepLastBlock();
  }

  /** What is in the buffer, to the end of its last block. */
  #writeFilled(current: Current, fileOffset: number): Promise<void> {
    const end = ceilToBlock(this.#filled);
    this.#buffer.fill(0, this.#filled, end);
    return this.#write(current, this.#buffer.subarray(0, end), fileOffset);
  }

  /** Ends the present segment, which is then the caller's to close; undefined when there is none. */
  finish(): FinishedSegment | undefined {
    const current = this.#current;
    this.#current = undefined;
    return current;
  }

  /** Zeroed blocks have their space; those of a lengthened segment, or of a file system that copies, do not. */
  async #write({ file, path }: Current, bytes: Buffer, offset: number): Promise<void> {
    try {
      await this.#space.patiently(() => {
        this.#watch.begin(path);
        return file.writeDurably(bytes, offset);
      });
    } finally {
      this.#watch.end();
    }
  }

  async #extend(path: string, sizeBytes: number): Promise<void> {
    const file = await this.#disk.openForWriting(path);
    try {
      await file.truncate(sizeBytes);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  #keepLastBlock(): void {
    const whole = floorToBlock(this.#filled);
    this.#buffer.copyWithin(0, whole, this.#filled);
    this.#filled -= whole;
  }
}

/**
 * C dqlite aborts on an open segment with exactly one word left behind its batches. So a batch fits when it
 * fills the segment, or leaves at least two words.
 */
function leavesValidRest(
  segment: { readonly sizeBytes: number; readonly usedBytes: number },
  sizeBytes: number,
): boolean {
  const rest = segment.sizeBytes - segment.usedBytes - sizeBytes;
  return rest === 0 || rest >= 16;
}

function sizeFor(usedBytes: number): number {
  const sizeBytes = ceilToBlock(usedBytes);
  return sizeBytes - usedBytes === 8 ? sizeBytes + blockBytes : sizeBytes;
}

function floorToBlock(size: number): number {
  return size - (size % blockBytes);
}

function ceilToBlock(size: number): number {
  return Math.ceil(size / blockBytes) * blockBytes;
}
