import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { markAsUntransferable } from 'node:worker_threads';
import type { Disk, LogFile, ReadableFile, WritableFile } from './disk.ts';
import { blockBytes } from './disk.ts';
import { DiskFullError } from './errors.ts';
import type { NativeAddon } from './native-addon.ts';
import { NodeDisk } from './node-disk.ts';

type Settle = (result: number) => void;

/**
 * The disk with the log on native-aio: one request writes and makes durable, straight from aligned memory, without
 * libuv's thread pool. Everything but the log goes through node:fs, where no one waits for it. Belongs to the
 * thread that made it.
 */
export class NativeDisk implements Disk {
  readonly #node = new NodeDisk();
  readonly #addon: NativeAddon;
  readonly #writer: InstanceType<NativeAddon['DurableWriter']>;
  /** By ticket. */
  readonly #waiting: (Settle | undefined)[];

  /** Throws when `ioUring` is asked for and this host forbids it. */
  constructor(addon: NativeAddon, ioUring: boolean) {
    this.#addon = addon;
    this.#waiting = new Array(addon.maxInFlight()).fill(undefined);
    const completions = new Int32Array(addon.maxInFlight() * 2);
    this.#writer = new addon.DurableWriter(
      ioUring,
      (count) => this.#complete(completions, count),
      completions,
    );
  }

  async openLog(path: string): Promise<LogFile> {
    const descriptor = this.#open(path);
    return {
      writeDurably: (source, offset) => this.#write(path, descriptor, source, offset),
      close: async () => this.#addon.closeFile(descriptor),
    };
  }

  allocate(sizeBytes: number): Buffer {
    const arena = this.#addon.allocateArena(Math.ceil(sizeBytes / blockBytes) * blockBytes);
    // A transfer to another thread would detach the memory while the kernel reads it.
    markAsUntransferable(arena);
    return Buffer.from(arena, 0, sizeBytes);
  }

  /** Waits for writes in flight and frees what the addon holds. */
  close(): void {
    this.#writer.close();
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#node.list(directory);
  }

  openForReading(path: string): Promise<ReadableFile> {
    return this.#node.openForReading(path);
  }

  create(path: string): Promise<WritableFile> {
    return this.#node.create(path);
  }

  openForWriting(path: string): Promise<WritableFile> {
    return this.#node.openForWriting(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#node.rename(from, to);
  }

  remove(path: string): Promise<void> {
    return this.#node.remove(path);
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#node.syncDirectory(directory);
  }

  /** Direct where the file system knows it; through the page cache, as durably, where it does not. */
  #open(path: string): number {
    try {
      return this.#addon.openFile(path, true);
    } catch {
      return this.#addon.openFile(path, false);
    }
  }

  #write(path: string, descriptor: number, source: Uint8Array, offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle: Settle = (result) => {
        if (result === source.length) resolve();
        else if (result > 0 && result % blockBytes === 0) {
          // The kernel took a part, as it may just before it runs out of space.
          const rest = source.subarray(result);
          this.#write(path, descriptor, rest, offset + result).then(resolve, reject);
        } else reject(failureOf(path, result));
      };
      this.#waiting[this.#writer.write(descriptor, source, offset)] = settle;
    });
  }

  #complete(completions: Int32Array, count: number): void {
    for (let at = 0; at < count * 2; at += 2) {
      const ticket = completions[at] as number;
      const settle = this.#waiting[ticket];
      this.#waiting[ticket] = undefined;
      settle?.(completions[at + 1] as number);
    }
  }
}

/** `result` is a negative errno, or a count that no direct write can end with. */
function failureOf(path: string, result: number): Error {
  if (result >= 0) return new Error(`${path}: a write ended after ${result} bytes`);
  const code = getSystemErrorName(result);
  const text = getSystemErrorMap().get(result)?.[1] ?? 'unknown error';
  const error = Object.assign(new Error(`${code}: ${text}, write '${path}'`), { code, path });
  return code === 'ENOSPC' || code === 'EDQUOT' ? new DiskFullError(path, error) : error;
}
