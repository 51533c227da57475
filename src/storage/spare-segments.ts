import { join } from 'node:path';
import type { Disk } from './disk.ts';
import { openSegmentName } from './file-names.ts';

/** An open segment that nothing was written to: all zero, its name durable. */
export interface SpareSegment {
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * Zeroed segments made ahead of use. Appending to blocks that were written before takes half the time of
 * appending to new ones, since the file system has nothing to record. Nothing is made before the first
 * segment is asked for: an idle server holds none.
 */
export class SpareSegments {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #sizeBytes: number;
  readonly #target: number;
  readonly #ready: SpareSegment[] = [];
  #making: Promise<void> | undefined;
  #counter = 0;
  #closed = false;

  constructor(disk: Disk, directory: string, sizeBytes: number, target: number) {
    this.#disk = disk;
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

  /** Stops making spares and removes those that are left. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#making?.catch(() => {});
    for (const spare of this.#ready.splice(0)) await this.#disk.remove(spare.path);
  }

  /** A failure in the background says nothing: `take` tries again and reports it when a spare is needed. */
  #refill(): void {
    if (this.#closed || this.#making !== undefined || this.#ready.length >= this.#target) return;
    this.#making = this.#make();
    this.#making.then(
      () => this.#refill(),
      () => {},
    );
  }

  async #make(): Promise<void> {
    try {
      this.#counter += 1;
      this.#ready.push(await this.#zeroed(openSegmentName(this.#counter)));
    } finally {
      this.#making = undefined;
    }
  }

  /** Zeroed under a temporary name, so that a crash leaves no open segment of odd length. */
  async #zeroed(name: string): Promise<SpareSegment> {
    const temporary = join(this.#directory, `tmp-${name}`);
    const path = join(this.#directory, name);
    await this.#writeZeros(temporary);
    await this.#disk.rename(temporary, path);
    await this.#disk.syncDirectory(this.#directory);
    return { path, sizeBytes: this.#sizeBytes };
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
