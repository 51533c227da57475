import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import type { SnapshotData, SnapshotMeta } from '../raft/types.ts';
import { type Disk, writeWhole } from './disk.ts';
import { StorageError } from './errors.ts';
import { type SnapshotId, snapshotName } from './file-names.ts';
import { encodeSnapshotMeta } from './snapshot-meta.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import { writeSnapshotData } from './snapshot-writer.ts';

/** How many snapshots stay: should the newest be damaged, the log still leads on from the one before. */
const kept = 2;

/** Oldest first: by term, then index, then time. */
export function compareSnapshots(a: SnapshotId, b: SnapshotId): number {
  return a.term - b.term || a.index - b.index || a.timestamp - b.timestamp;
}

/** The snapshots of a directory. One `publish` at a time. */
export class SnapshotFiles {
  readonly #disk: Disk;
  readonly #directory: string;
  /** Oldest first. */
  #ids: SnapshotId[];
  #temporaries = 0;

  constructor(disk: Disk, directory: string, ids: readonly SnapshotId[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#ids = [...ids].sort(compareSnapshots);
  }

  /** Compresses content into a temporary file. */
  async write(chunks: AsyncIterable<Uint8Array>): Promise<StoredSnapshot> {
    this.#temporaries += 1;
    const path = join(this.#directory, `tmp-snapshot-${this.#temporaries}`);
    const sizeBytes = await writeSnapshotData(this.#disk, path, chunks);
    return new StoredSnapshot(this.#disk, path, sizeBytes);
  }

  /**
   * Makes a written snapshot one that counts: description first, then data, each durable under its name before
   * the next step. Then only the two newest snapshots stay. May be repeated after a failure on a full device.
   */
  async publish(meta: SnapshotMeta, stored: StoredSnapshot, timestamp: number): Promise<void> {
    const id = this.#unique({ term: meta.term, index: meta.index, timestamp });
    const path = this.#pathOf(id);
    const temporary = join(this.#directory, 'tmp-snapshot.meta');
    await writeWhole(this.#disk, temporary, encodeSnapshotMeta(meta));
    try {
      await this.#disk.rename(temporary, `${path}.meta`);
    } catch (error) {
      await this.#disk.remove(temporary).catch(() => {});
      throw error;
    }
    await this.#disk.syncDirectory(this.#directory);
    await stored.moveTo(path);
    await this.#disk.syncDirectory(this.#directory);
    this.#ids.push(id);
    this.#ids.sort(compareSnapshots);
    await this.#removeOld();
  }

  /** The oldest snapshot that is kept. */
  get oldest(): SnapshotId | undefined {
    return this.#ids[0];
  }

  /** Opens the newest snapshot of this term and index. */
  async open(meta: SnapshotMeta): Promise<SnapshotData> {
    const id = this.#ids.findLast((one) => one.term === meta.term && one.index === meta.index);
    if (id === undefined) {
      const path = join(this.#directory, `snapshot-${meta.term}-${meta.index}`);
      throw new StorageError(path, undefined, 'the snapshot is gone', 'A newer one took its place');
    }
    const reader = await SnapshotReader.open(this.#disk, this.#pathOf(id));
    return new OpenSnapshot(reader, await reader.contentSize());
  }

  /** Data first: a description alone is removed at the next start, data alone would be a riddle. */
  async #removeOld(): Promise<void> {
    const old = this.#ids.slice(0, -kept).map((id) => this.#pathOf(id));
    this.#ids = this.#ids.slice(-kept);
    for (const suffix of ['', '.meta']) {
      for (const path of old) await this.#disk.remove(`${path}${suffix}`);
      if (old.length > 0) await this.#disk.syncDirectory(this.#directory);
    }
  }

  #unique(id: SnapshotId): SnapshotId {
    const same = this.#ids.findLast((one) => one.term === id.term && one.index === id.index);
    return same ? { ...id, timestamp: Math.max(id.timestamp, same.timestamp + 1) } : id;
  }

  #pathOf(id: SnapshotId): string {
    return join(this.#directory, snapshotName(id));
  }
}

/** Content that was written to a temporary file, and perhaps put in place since. */
export class StoredSnapshot implements SnapshotData {
  readonly sizeBytes: number;
  readonly #disk: Disk;
  #path: string;
  #temporary = true;
  /** The file is opened and renamed one after the other: an open that meets a rename finds neither name. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(disk: Disk, path: string, sizeBytes: number) {
    this.#disk = disk;
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  async *chunks(): AsyncGenerator<Buffer> {
    const reader = await this.#inTurn(() => SnapshotReader.open(this.#disk, this.#path));
    try {
      yield* reader.chunks();
    } finally {
      await reader.close();
    }
  }

  /** Gives the file its final name; from then on `release` leaves it alone. */
  moveTo(path: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#disk.rename(this.#path, path);
      this.#path = path;
      this.#temporary = false;
    });
  }

  /** Removes the file unless it was put in place. */
  release(): void {
    if (!this.#temporary) return;
    this.#temporary = false;
    // What cannot be removed now is removed at the next start.
    this.#disk.remove(this.#path).catch(() => {});
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** A snapshot that stays readable while newer ones replace it: the file is held open. */
class OpenSnapshot implements SnapshotData {
  readonly sizeBytes: number;
  readonly #reader: SnapshotReader;
  #readers = 0;
  #released = false;

  constructor(reader: SnapshotReader, sizeBytes: number) {
    this.#reader = reader;
    this.sizeBytes = sizeBytes;
  }

  async *chunks(): AsyncGenerator<Buffer> {
    assert(!this.#released, 'the snapshot was released');
    this.#readers += 1;
    try {
      for await (const chunk of this.#reader.chunks()) {
        if (this.#released) return;
        yield chunk;
      }
    } finally {
      this.#readers -= 1;
      if (this.#released) this.#closeUnused();
    }
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#closeUnused();
  }

  /** A descriptor closed under a read could be another file's by the time the read is carried out. */
  #closeUnused(): void {
    if (this.#readers === 0) this.#reader.close().catch(() => {});
  }
}
