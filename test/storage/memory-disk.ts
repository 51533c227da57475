import { basename, dirname } from 'node:path';
import type { Random } from '../../src/base/random.ts';
import type { Disk, LogFile, ReadableFile, WritableFile } from '../../src/storage/disk.ts';
import { DiskFullError } from '../../src/storage/errors.ts';

/** What the device writes whole or not at all. */
const sectorBytes = 512;

interface PendingWrite {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** A file: what is durable, what a reader sees, and the changes between the two, in order. */
class File {
  durable: Buffer = Buffer.alloc(0);
  seen: Buffer = Buffer.alloc(0);
  readonly pending: (PendingWrite | { readonly truncateTo: number })[] = [];
}

type DirectoryChange = { readonly name: string; readonly file: File | undefined };

class Directory {
  readonly durable = new Map<string, File>();
  readonly seen = new Map<string, File>();
  /** Each of these happens whole or not at all. */
  readonly pending: (readonly DirectoryChange[])[] = [];
}

/** Thrown by every operation once the disk has crashed. */
export class Crashed extends Error {}

/**
 * A disk in memory that knows what is durable. It can crash before any operation; `remains` then gives a disk as
 * it may be found afterwards: of all that was not synced any part may be missing, of a durable write under
 * way any sectors.
 */
export class MemoryDisk implements Disk {
  readonly #directories = new Map<string, Directory>();
  /** The durable write that the crash interrupted. */
  #torn: { readonly file: File; readonly write: PendingWrite } | undefined;
  #crashed = false;
  operations = 0;
  /** Crash at this operation. */
  crashAt = Number.POSITIVE_INFINITY;
  /** Instead of crashing, fail that operation and all that follow. */
  failWith: Error | undefined;
  /** From this operation on nothing that takes space finds any: a write takes half of its bytes, then fails. */
  fullAt = Number.POSITIVE_INFINITY;
  /** Writes within a file's size take no new space, as on most file systems; otherwise they do. */
  keepsZeroedSpace = false;
  /** Lengths of all durable writes. */
  readonly durableWrites: number[] = [];
  /** Called before each durable write; it happens when the promise resolves. */
  beforeDurableWrite: () => Promise<void> = async () => {};

  constructor(directories: readonly string[]) {
    for (const path of directories) this.#directories.set(path, new Directory());
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /** A disk as it may be found after a crash now. */
  remains(random: Random): MemoryDisk {
    const disk = new MemoryDisk([...this.#directories.keys()]);
    const copies = new Map<File, File>();
    for (const [path, directory] of this.#directories) {
      const names = new Map(directory.durable);
      for (const changes of directory.pending) {
        if (random.int(0, 1) === 0) continue;
        for (const { name, file } of changes) {
          if (file === undefined) names.delete(name);
          else names.set(name, file);
        }
      }
      const found = disk.#directories.get(path) ?? new Directory();
      for (const [name, file] of names) {
        const copy = copies.get(file) ?? this.#remainsOf(file, random);
        copies.set(file, copy);
        found.durable.set(name, copy);
        found.seen.set(name, copy);
      }
    }
    return disk;
  }

  /** As after the end of the process alone: all that was written can be read, and is no more durable than before. */
  restart(random: Random): void {
    this.#crashed = false;
    this.crashAt = Number.POSITIVE_INFINITY;
    if (this.#torn === undefined) return;
    const { file, write } = this.#torn;
    this.#torn = undefined;
    if (random.int(0, 1) === 0) return;
    file.seen = written(file.seen, write);
    file.pending.push(write);
  }

  /** Changes bytes behind everybody's back. */
  damage(path: string, change: (bytes: Buffer) => Buffer): void {
    const file = this.#find(path);
    file.durable = change(Buffer.from(file.seen));
    file.seen = Buffer.from(file.durable);
  }

  async list(path: string): Promise<readonly string[]> {
    this.#operation();
    return [...this.#directory(path).seen.keys()];
  }

  async openForReading(path: string): Promise<ReadableFile> {
    this.#operation();
    const file = this.#find(path);
    return {
      sizeBytes: file.seen.length,
      read: async (target, offset) => {
        this.#operation();
        return file.seen.copy(target, 0, Math.min(offset, file.seen.length));
      },
      close: async () => this.#operation(),
    };
  }

  async create(path: string): Promise<WritableFile> {
    this.#operation();
    this.#takeSpace(path);
    const directory = this.#directory(dirname(path));
    if (directory.seen.has(basename(path))) throw failure('EEXIST', path);
    const file = new File();
    directory.seen.set(basename(path), file);
    directory.pending.push([{ name: basename(path), file }]);
    return this.#writable(path, file);
  }

  async openForWriting(path: string): Promise<WritableFile> {
    this.#operation();
    return this.#writable(path, this.#find(path));
  }

  async openLog(path: string): Promise<LogFile> {
    this.#operation();
    const file = this.#find(path);
    return {
      writeDurably: async (source, offset) => {
        const write = { offset, bytes: Buffer.from(source) };
        await this.beforeDurableWrite();
        this.#operation(() => {
          this.#torn = { file, write };
        });
        if (!this.keepsZeroedSpace) this.#takeSpace(path, () => this.#writeHalf(file, write));
        this.durableWrites.push(write.bytes.length);
        file.seen = written(file.seen, write);
        file.durable = written(file.durable, write);
      },
      close: async () => this.#operation(),
    };
  }

  allocate(sizeBytes: number): Buffer {
    return Buffer.alloc(sizeBytes);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#operation();
    this.#takeSpace(to);
    const file = this.#find(from);
    const directory = this.#directory(dirname(from));
    directory.seen.delete(basename(from));
    directory.seen.set(basename(to), file);
    directory.pending.push([
      { name: basename(from), file: undefined },
      { name: basename(to), file },
    ]);
  }

  async remove(path: string): Promise<void> {
    this.#operation();
    this.#find(path);
    const directory = this.#directory(dirname(path));
    directory.seen.delete(basename(path));
    directory.pending.push([{ name: basename(path), file: undefined }]);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#operation();
    const directory = this.#directory(path);
    directory.durable.clear();
    for (const [name, file] of directory.seen) directory.durable.set(name, file);
    directory.pending.length = 0;
  }

  /** Counts an operation; `interrupted` when the crash comes in its middle. */
  #operation(interrupted = () => {}): void {
    if (this.#crashed) throw this.failWith ?? new Crashed();
    this.operations += 1;
    if (this.operations < this.crashAt) return;
    this.#crashed = true;
    interrupted();
    throw this.failWith ?? new Crashed();
  }

  #takeSpace(path: string, partly = () => {}): void {
    if (this.operations < this.fullAt) return;
    partly();
    throw new DiskFullError(path, undefined);
  }

  #writeHalf(file: File, write: PendingWrite): void {
    const half = { ...write, bytes: write.bytes.subarray(0, write.bytes.length >> 1) };
    file.seen = written(file.seen, half);
    file.pending.push(half);
  }

  #writable(path: string, file: File): WritableFile {
    return {
      write: async (source, offset) => {
        this.#operation();
        const write = { offset, bytes: Buffer.from(source) };
        const within = offset + write.bytes.length <= file.seen.length;
        if (!(within && this.keepsZeroedSpace)) {
          this.#takeSpace(path, () => this.#writeHalf(file, write));
        }
        file.seen = written(file.seen, write);
        file.pending.push(write);
      },
      sync: async () => {
        this.#operation();
        file.durable = Buffer.from(file.seen);
        file.pending.length = 0;
      },
      truncate: async (sizeBytes) => {
        this.#operation();
        if (sizeBytes > file.seen.length) this.#takeSpace(path);
        file.seen = truncated(file.seen, sizeBytes);
        file.pending.push({ truncateTo: sizeBytes });
      },
      close: async () => this.#operation(),
    };
  }

  #remainsOf(file: File, random: Random): File {
    let bytes = file.durable;
    for (const change of file.pending) {
      if ('truncateTo' in change) {
        if (random.int(0, 1) === 1) bytes = truncated(bytes, change.truncateTo);
      } else bytes = torn(bytes, change, random);
    }
    if (this.#torn?.file === file) bytes = torn(bytes, this.#torn.write, random);
    const copy = new File();
    copy.durable = bytes;
    copy.seen = Buffer.from(bytes);
    return copy;
  }

  #directory(path: string): Directory {
    const directory = this.#directories.get(path);
    if (directory === undefined) throw failure('ENOENT', path);
    return directory;
  }

  #find(path: string): File {
    const file = this.#directories.get(dirname(path))?.seen.get(basename(path));
    if (file === undefined) throw failure('ENOENT', path);
    return file;
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code, path });
}

/** Changes `bytes` itself where they are long enough. */
function written(bytes: Buffer, { offset, bytes: source }: PendingWrite): Buffer {
  let result = bytes;
  if (offset + source.length > bytes.length) {
    result = Buffer.alloc(offset + source.length);
    bytes.copy(result);
  }
  source.copy(result, offset);
  return result;
}

function truncated(bytes: Buffer, sizeBytes: number): Buffer {
  const result = Buffer.alloc(sizeBytes);
  bytes.copy(result, 0, 0, sizeBytes);
  return result;
}

/** Some sectors of the write, none, or all. */
function torn(bytes: Buffer, write: PendingWrite, random: Random): Buffer {
  const mood = random.int(0, 3);
  let result: Buffer = Buffer.from(bytes);
  const end = write.offset + write.bytes.length;
  for (let at = write.offset; at < end; ) {
    const next = Math.min(end, at - (at % sectorBytes) + sectorBytes);
    if (mood === 3 || (mood > 0 && random.int(0, 1) === 1)) {
      const part = write.bytes.subarray(at - write.offset, next - write.offset);
      result = written(result, { offset: at, bytes: part });
    }
    at = next;
  }
  return result;
}
