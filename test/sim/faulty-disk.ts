import { basename, dirname } from 'node:path';
import type { Clock } from '../../src/base/clock.ts';
import type { Random } from '../../src/base/random.ts';
import type { Disk, LogFile, ReadableFile, WritableFile } from '../../src/storage/disk.ts';
import { DiskFullError } from '../../src/storage/errors.ts';
import { FaultyFile, type WriteUnderWay } from './faulty-file.ts';

/** How the simulated device behaves. All times in milliseconds. */
export interface DiskOptions {
  /** The only directories that there are. */
  readonly directories: readonly string[];
  readonly minLatencyMs: number;
  readonly maxLatencyMs: number;
}

/** A change of names that is not durable yet. Each is one step: a crash leaves it whole or not at all. */
type NameChange =
  | { readonly kind: 'put'; readonly path: string; readonly file: FaultyFile }
  | { readonly kind: 'remove'; readonly path: string }
  | {
      readonly kind: 'rename';
      readonly from: string;
      readonly path: string;
      readonly file: FaultyFile;
    };

interface DurableWrite extends WriteUnderWay {
  readonly file: FaultyFile;
}

/**
 * A disk in memory that keeps, through a crash, only what a real one promises: durable writes that completed,
 * what was synced, and directory entries whose directory was synced. Everything else may survive whole, in part
 * or not at all, as the random source decides. Every operation takes time on `clock`. A change has happened, as far
 * as a crash can tell, at any moment between the call and its end; a sync covers what was there when it was called.
 */
export class FaultyDisk implements Disk {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: DiskOptions;
  readonly #directories: ReadonlySet<string>;
  #live = new Map<string, FaultyFile>();
  readonly #durable = new Map<string, FaultyFile>();
  /** Since the directories were last synced, oldest first. */
  #changes: NameChange[] = [];
  readonly #underWay = new Set<DurableWrite>();
  /** Operations started before the last crash never complete. */
  #life = 0;
  /** What the process of this life uses. */
  #memory: Buffer[] = [];
  /** Hears when a name is about to change. */
  onChange: (kind: 'put' | 'remove' | 'rename') => void = () => {};
  /** What writes answer, and if it is broken syncs too; undefined while the device is well. */
  fault: 'full' | 'broken' | undefined;
  /** Added to every durable write and every sync of a file: a sick device. */
  extraLatencyMs = 0;

  constructor(clock: Clock, random: Random, options: DiskOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#directories = new Set(options.directories);
  }

  /** The power is cut and comes back: unsynced bytes and names are gone, partly. */
  crash(): void {
    this.#endLife();
    const files = new Set([...this.#live.values(), ...this.#durable.values()]);
    this.#loseChanges();
    for (const file of files) {
      const write = [...this.#underWay].find((underWay) => underWay.file === file);
      file.crash(this.#random, write);
    }
    this.#underWay.clear();
    this.#live = new Map(this.#durable);
    this.fault = undefined;
  }

  /** The process is killed: what it wrote stays visible, and stays at the mercy of a later power cut. */
  kill(): void {
    this.#endLife();
    for (const { file, bytes, offset } of this.#underWay) {
      if (this.#random.int(0, 1) === 1) file.writeDurably(bytes, offset);
    }
    this.#underWay.clear();
  }

  /** Every path that there is now. */
  get paths(): readonly string[] {
    return [...this.#live.keys()];
  }

  /** For tests that damage files on purpose. */
  file(path: string): FaultyFile {
    const file = this.#live.get(path);
    if (file === undefined) throw failure('ENOENT', path);
    return file;
  }

  async list(directory: string): Promise<readonly string[]> {
    await this.#takeTime();
    if (!this.#directories.has(directory)) throw failure('ENOENT', directory);
    const names: string[] = [];
    for (const path of this.#live.keys()) {
      if (dirname(path) === directory) names.push(basename(path));
    }
    return names;
  }

  async openForReading(path: string): Promise<ReadableFile> {
    await this.#takeTime();
    const file = this.file(path);
    return {
      sizeBytes: file.sizeBytes,
      read: async (target, offset) => {
        await this.#takeTime();
        return file.read(target, offset);
      },
      close: async () => {},
    };
  }

  async create(path: string): Promise<WritableFile> {
    this.#checkFault(path);
    if (!this.#directories.has(dirname(path))) throw failure('ENOENT', path);
    if (this.#live.has(path)) throw failure('EEXIST', path);
    const file = new FaultyFile();
    this.#change({ kind: 'put', path, file });
    await this.#takeTime();
    return this.#writable(path, file);
  }

  async openForWriting(path: string): Promise<WritableFile> {
    await this.#takeTime();
    return this.#writable(path, this.file(path));
  }

  async openLog(path: string): Promise<LogFile> {
    await this.#takeTime();
    const file = this.file(path);
    return {
      writeDurably: async (source, offset) => {
        const write = { file, offset, bytes: source.slice() };
        this.#underWay.add(write);
        await this.#takeTime(this.extraLatencyMs);
        this.#underWay.delete(write);
        this.#checkFault(path);
        file.writeDurably(write.bytes, offset);
      },
      close: async () => {},
    };
  }

  allocate(sizeBytes: number): Buffer {
    const memory = takeMemory(sizeBytes);
    this.#memory.push(memory);
    return memory;
  }

  async rename(from: string, to: string): Promise<void> {
    this.#checkFault(to);
    this.#change({ kind: 'rename', from, path: to, file: this.file(from) });
    await this.#takeTime();
  }

  async remove(path: string): Promise<void> {
    this.file(path);
    this.#change({ kind: 'remove', path });
    await this.#takeTime();
  }

  async syncDirectory(directory: string): Promise<void> {
    const covered = new Set(this.#changes.filter(({ path }) => dirname(path) === directory));
    await this.#takeTime();
    this.#checkBroken(directory);
    const left: NameChange[] = [];
    for (const change of this.#changes) {
      if (covered.has(change)) apply(this.#durable, change);
      else left.push(change);
    }
    this.#changes = left;
  }

  #endLife(): void {
    this.#life++;
    freeMemory.push(...this.#memory);
    this.#memory = [];
  }

  #writable(path: string, file: FaultyFile): WritableFile {
    return {
      write: async (source, offset) => {
        this.#checkFault(path);
        file.write(source, offset);
        await this.#takeTime();
      },
      sync: async () => {
        const covered = file.changes;
        await this.#takeTime(this.extraLatencyMs);
        this.#checkBroken(path);
        file.sync(covered);
      },
      truncate: async (sizeBytes) => {
        this.#checkFault(path);
        file.truncate(sizeBytes);
        await this.#takeTime();
      },
      close: async () => {},
    };
  }

  #change(change: NameChange): void {
    this.onChange(change.kind);
    this.#changes.push(change);
    apply(this.#live, change);
  }

  /** File systems with a journal lose the newest changes; others lose any. */
  #loseChanges(): void {
    const inOrder = this.#random.int(0, 1) === 1;
    const kept = this.#random.int(0, this.#changes.length);
    for (const [at, change] of this.#changes.entries()) {
      if (inOrder ? at < kept : this.#random.int(0, 1) === 1) apply(this.#durable, change);
    }
    this.#changes = [];
  }

  /** Of what may need space. */
  #checkFault(path: string): void {
    if (this.fault === 'full') throw new DiskFullError(path, failure('ENOSPC', path));
    this.#checkBroken(path);
  }

  #checkBroken(path: string): void {
    if (this.fault === 'broken') throw failure('EIO', path);
  }

  /** Resolves after simulated time, unless the machine crashes first: then never. */
  #takeTime(extraMs = 0): Promise<void> {
    const { minLatencyMs, maxLatencyMs } = this.#options;
    const microseconds = this.#random.int(minLatencyMs * 1000, maxLatencyMs * 1000);
    const life = this.#life;
    return new Promise((resolve) => {
      this.#clock.after(microseconds / 1000 + extraMs, () => {
        if (life === this.#life) resolve();
      });
    });
  }
}

/** Memory of processes that are gone: thousands of them start in a run. */
const freeMemory: Buffer[] = [];

function takeMemory(sizeBytes: number): Buffer {
  const at = freeMemory.findIndex((memory) => memory.length === sizeBytes);
  const [memory] = at < 0 ? [] : freeMemory.splice(at, 1);
  return memory?.fill(0) ?? Buffer.alloc(sizeBytes);
}

function apply(names: Map<string, FaultyFile>, change: NameChange): void {
  if (change.kind !== 'put') names.delete(change.kind === 'rename' ? change.from : change.path);
  if (change.kind !== 'remove') names.set(change.path, change.file);
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
