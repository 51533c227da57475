import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import type { Index } from '../base/ids.ts';
import type { Entry } from '../raft/types.ts';
import { blockBytes, type Disk, type WritableFile } from './disk.ts';
import { closedSegmentName } from './file-names.ts';
import {
  batchHeaderBytes,
  encodeBatch,
  entryBytes,
  segmentFormat,
  segmentHeaderBytes,
} from './segment.ts';
import { scanSegment } from './segment-reader.ts';
import { batchBytesLimit, type FinishedSegment, SegmentWriter } from './segment-writer.ts';
import type { Space } from './space.ts';
import { SpareSegments } from './spare-segments.ts';
import type { StallWatch } from './stall-watch.ts';

/** A closed segment: the indexes of its entries, both included, are its name. */
export interface ClosedSegment {
  readonly first: Index;
  readonly last: Index;
}

export interface SegmentsOptions {
  readonly disk: Disk;
  readonly space: Space;
  readonly watch: StallWatch;
  readonly directory: string;
  /** Length of an open segment: a multiple of 4096. */
  readonly segmentBytes: number;
  /** How many zeroed segments are kept ready. */
  readonly spareSegments: number;
  /** What recovery found, in order and without gaps. */
  readonly closed: readonly ClosedSegment[];
  /** The index of the next entry. */
  readonly next: Index;
  /** The disk failed in the background. */
  readonly failed: (error: unknown) => void;
}

/**
 * The log as segments. One call at a time, but for `removeCovered` and `settled`. Full segments are closed in
 * the background, in order: cut to their length, synced, renamed, the directory synced.
 */
export class Segments {
  readonly #disk: Disk;
  readonly #space: Space;
  readonly #directory: string;
  readonly #writer: SegmentWriter;
  readonly #spares: SpareSegments;
  #closed: ClosedSegment[];
  #next: Index;
  /** Index of the first entry of the segment that is being written. */
  #currentFirst: Index;
  #closing: Promise<void> = Promise.resolve();

  constructor(options: SegmentsOptions) {
    const { disk, space, watch, directory, segmentBytes, spareSegments } = options;
    assert(segmentBytes % blockBytes === 0, 'a segment is a number of whole blocks');
    this.#disk = disk;
    this.#space = space;
    this.#directory = directory;
    this.#writer = new SegmentWriter(disk, space, watch);
    this.#spares = new SpareSegments(
      disk,
      space,
      directory,
      segmentBytes,
      spareSegments,
      options.failed,
    );
    this.#closed = [...options.closed];
    this.#next = options.next;
    this.#currentFirst = options.next;
  }

  /** The index of the next entry. */
  get next(): Index {
    return this.#next;
  }

  /** Appends entries that follow the last one; resolves once all are durable. */
  async append(entries: readonly Entry[]): Promise<void> {
    assert(entries[0] === undefined || entries[0].index === this.#next, 'entries leave a gap');
    for (const { batch, sizeBytes } of batches(entries)) {
      if (!this.#writer.hasRoomFor(sizeBytes)) {
        this.finishCurrent();
        await this.#writer.begin(await this.#spares.take(), sizeBytes);
      }
      await this.#writer.append(batch);
      this.#next = (this.#next + batch.length) as Index;
    }
  }

  /** Ends the segment that is being written and has it closed; `settled` tells when it is. */
  finishCurrent(): void {
    const finished = this.#writer.finish();
    const segment = { first: this.#currentFirst, last: (this.#next - 1) as Index };
    this.#currentFirst = this.#next;
    if (finished === undefined) return;
    this.#closing = this.#closing.then(() => this.#close(finished, segment));
    // Whoever appends or settles next is told; until then the failure is nobody's.
    this.#closing.catch(() => {});
  }

  /** Resolves once every finished segment is closed. */
  settled(): Promise<void> {
    return this.#closing;
  }

  /** Removes the entry `from` and all behind it, durably. */
  async truncate(from: Index): Promise<void> {
    if (from >= this.#next) return;
    this.finishCurrent();
    await this.settled();
    const dropped = this.#closed.filter((segment) => segment.first >= from);
    const cut = this.#closed.find((segment) => segment.first < from && segment.last >= from);
    await this.#removeNewestFirst(dropped);
    const remaining = cut && (await this.#cut(cut, from));
    // Looked at again: covered segments may have been removed meanwhile.
    this.#closed = this.#closed.filter((segment) => segment.last < from);
    if (remaining) this.#closed.push(remaining);
    this.#next = from;
    this.#currentFirst = from;
  }

  /**
   * Removes closed segments that hold nothing behind `old`; and, the oldest first, such as hold nothing behind
   * `disposable` while these take more than `keepBytes`.
   */
  async removeCovered(old: Index, disposable: Index, keepBytes: number): Promise<void> {
    const covered: ClosedSegment[] = [];
    let bytes = 0;
    for (const segment of this.#closed.filter(({ last }) => last <= disposable).reverse()) {
      bytes += await this.#sizeOf(segment);
      if (segment.last <= old || bytes > keepBytes) covered.unshift(segment);
    }
    // Looked at again: the newest may have been removed by a truncation meanwhile.
    this.#closed = this.#closed.filter((segment) => !covered.includes(segment));
    // Each durably before the next, the oldest first: open segments do not say where they start, so what a crash leaves
    // must reach up to them, or hold nothing at all.
    for (const segment of covered) {
      await this.#disk.remove(this.#pathOf(segment));
      await this.#disk.syncDirectory(this.#directory);
    }
  }

  async #sizeOf(segment: ClosedSegment): Promise<number> {
    const file = await this.#disk.openForReading(this.#pathOf(segment));
    await file.close();
    return file.sizeBytes;
  }

  /** Removes all entries; the next one is `next`. */
  async restart(next: Index): Promise<void> {
    this.finishCurrent();
    await this.settled();
    await this.#removeNewestFirst(this.#closed.splice(0));
    this.#next = next;
    this.#currentFirst = next;
  }

  /** Closes what is open and removes the spares: no open segment is left. */
  async close(): Promise<void> {
    this.finishCurrent();
    await this.settled();
    await this.#spares.close();
    await this.#disk.syncDirectory(this.#directory);
  }

  /** Each durably before the next: a crash leaves the older part of the log, never one with a gap. */
  async #removeNewestFirst(segments: readonly ClosedSegment[]): Promise<void> {
    for (const segment of segments.toReversed()) {
      await this.#disk.remove(this.#pathOf(segment));
      await this.#disk.syncDirectory(this.#directory);
    }
  }

  async #close({ file, path, usedBytes }: FinishedSegment, segment: ClosedSegment): Promise<void> {
    await file.close();
    await this.#space.patiently(() =>
      closeSegmentFile(this.#disk, this.#directory, path, usedBytes, segment),
    );
    this.#closed.push(segment);
  }

  /** Writes the entries before `from` as a segment of their own, then removes the old one. */
  async #cut(segment: ClosedSegment, from: Index): Promise<ClosedSegment> {
    const remaining = { first: segment.first, last: (from - 1) as Index };
    const temporary = join(this.#directory, `tmp-${closedSegmentName(segment.first, from)}`);
    await this.#space.patiently(() =>
      copySegmentUpTo(this.#disk, this.#pathOf(segment), temporary, segment.first, from),
    );
    await this.#space.patiently(() => this.#disk.rename(temporary, this.#pathOf(remaining)));
    await this.#disk.syncDirectory(this.#directory);
    await this.#disk.remove(this.#pathOf(segment));
    await this.#disk.syncDirectory(this.#directory);
    return remaining;
  }

  #pathOf(segment: ClosedSegment): string {
    return join(this.#directory, closedSegmentName(segment.first, segment.last));
  }
}

/** Cuts a segment to its batches and gives it the name of a closed one, durably. */
export async function closeSegmentFile(
  disk: Disk,
  directory: string,
  path: string,
  usedBytes: number,
  segment: ClosedSegment,
): Promise<void> {
  const file = await disk.openForWriting(path);
  try {
    await file.truncate(usedBytes);
    await file.sync();
  } finally {
    await file.close();
  }
  const closedPath = join(directory, closedSegmentName(segment.first, segment.last));
  if (closedPath !== path) await disk.rename(path, closedPath);
  await disk.syncDirectory(directory);
}

/**
 * Writes the whole batches of a segment, which starts with entry `first`, up to but without entry `end`, to a new
 * file. A failure leaves no such file.
 */
export async function copySegmentUpTo(
  disk: Disk,
  from: string,
  to: string,
  first: Index,
  end: Index,
): Promise<void> {
  const source = await disk.openForReading(from);
  try {
    const target = await disk.create(to);
    try {
      await copyBatches(source, target, first, end);
      await target.sync();
    } catch (error) {
      await disk.remove(to).catch(() => {});
      throw error;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function copyBatches(
  source: Parameters<typeof scanSegment>[0],
  target: WritableFile,
  first: Index,
  end: Index,
): Promise<void> {
  const format = Buffer.alloc(segmentHeaderBytes);
  format.writeUInt32LE(segmentFormat, 0);
  await target.write(format, 0);
  let offset = segmentHeaderBytes;
  await scanSegment(source, first, async ({ entries }) => {
    const kept = entries.filter((entry) => entry.index < end);
    if (kept.length === 0) return;
    const batch = encodeBatch(kept);
    await target.write(batch, offset);
    offset += batch.length;
  });
}

/** Cuts entries into batches that each leave in one write, where an entry is not larger than that itself. */
function* batches(
  entries: readonly Entry[],
): Generator<{ batch: readonly Entry[]; sizeBytes: number }> {
  let from = 0;
  let sizeBytes = batchHeaderBytes;
  for (const [at, entry] of entries.entries()) {
    if (at > from && sizeBytes + entryBytes(entry) > batchBytesLimit) {
      yield { batch: entries.slice(from, at), sizeBytes };
      from = at;
      sizeBytes = batchHeaderBytes;
    }
    sizeBytes += entryBytes(entry);
  }
  if (from < entries.length) yield { batch: entries.slice(from), sizeBytes };
}
