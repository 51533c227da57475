import { join } from 'node:path';
import type { Disk, LogFile } from './disk.ts';
import { openSegmentName } from './file-names.ts';
import type { Space } from './space.ts';

/** An open segment that nothing was written to: all zero, its name durable. */
export interface SpareSegment {
  readonly path: string;
  readonly sizeBytes: number;
  /** Opened ahead of use, too: appends wait for nothing but their own write. */
  readonly file: LogFile;
}

/**
 * Zeroed segments made ahead of use. Appending to blocks that were written before takes half the time of
 * appending to new ones, since the file system has nothing to record. Nothing is made before the first
 * segment is asked for: an idle server holds none.
 *
 * They are also the reserve of a full device: as soon as one cannot be made space is lacking and nobody proposes
 * writes any more, while what is on the way, and elections, still have the segments that are left.
 */
export class SpareSegments {
  readonly #disk: Disk;
  readonly #space: Space;
  readonly #directory: string;
  readonly #sizeBytes: number;
  readonly #target: number;
  readonly #ready: SpareSegment[] = [];
  #making: Promise<void> | undefined;
  #counter = 0;
  readonly #failed: (error: unknown) => void;
  #closed = false;

  /** @param failed the disk failed while a spare was made in the background */
  constructor(
    disk: Disk,
    space: Space,
    directory: string,
    sizeBytes: number,
    target: number,
    failed: (error: unknown) => void,
  ) {
    this.#failed = failed;
    this.#disk = disk;
    this.#space = space;
    this.#directory = directory;
    this.#sizeBytes = sizeBytes;
    this.#target = target;
  }

  /** The spare with the lowest number; waits for one to be made when there is none. */
  async take(): Promise<SpareSegment> {
    while (this.#ready.length === 0) {
      this.#making ??= this.#make();
      await this.#making;
    }
    const spare = this.#ready.shift() as SpareSegment;
    this.#refill();
    return spare;
  }

  /** Stops making spares and removes those that are left. One that waits for space must have been given up. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#making?.catch(() => {});
    for (const { file, path } of this.#ready.splice(0)) {
      await file.close();
      await this.#disk.remove(path);
    }
  }

  #refill(): void {
    if (this.#closed || this.#making !== undefined || this.#ready.length >= this.#target) return;
    this.#making = this.#make();
    this.#making.then(
      () => this.#refill(),
      (error: unknown) => {
        if (!this.#closed) this.#failed(error);
      },
    );
  }

  async #make(): Promise<void> {
    try {
      this.#counter += 1;
      const name = openSegmentName(this.#counter);
      this.#ready.push(await this.#space.patiently(() => this.#zeroed(name)));
    } finally {
      this.#making = undefined;
    }
  }

  /** Zeroed under a temporary name, so that a crash leaves no open segment of odd length. */
  async #zeroed(name: string): Promise<SpareSegment> {
    const temporary = join(this.#directory, `tmp-${name}`);
    const path = join(this.#directory, name);
    const made = await this.#disk.createLog?.(this.#directory, name, this.#sizeBytes);
    if (made !== undefined) return { path, sizeBytes: this.#sizeBytes, file: made };
    await this.#writeZeros(temporary);
    try {
      await this.#disk.rename(temporary, path);
    } catch (error) {
      await this.#disk.remove(temporary).catch(() => {});
      throw error;
    }
    await this.#disk.syncDirectory(this.#directory);
    return { path, sizeBytes: this.#sizeBytes, file: await this.#disk.openLog(path) };
  }

  async #writeZeros(path: string): Promise<void> {
    const file = await this.#disk.create(path);
    try {
      for (let offset = 0; offset < this.#sizeBytes; offset += zeros.length) {
        await file.write(zeros.subarray(0, this.#sizeBytes - offset), offset);
      }
      await file.sync();
    } catch (error) {
      // A device without room must not be filled with what is of no use.
      await this.#disk.remove(path).catch(() => {});
      throw error;
    } finally {
      await file.close();
    }
  }
}

const zeros = Buffer.alloc(1024 * 1024);
