import { constants } from 'node:fs';
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { markAsUntransferable } from 'node:worker_threads';
import type { Disk, LogFile, ReadableFile, WritableFile } from './disk.ts';
import { blockBytes } from './disk.ts';
import { DiskFullError } from './errors.ts';
import type { NativeAddon } from './native-addon.ts';
import { closeDescriptor, NodeDisk, openDescriptor } from './node-disk.ts';

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
    markAsUntransferable(completions.buffer);
    this.#writer = new addon.DurableWriter(
      ioUring,
      (count) => this.#complete(completions, count),
      completions,
    );
  }

  async openLog(path: string): Promise<LogFile> {
    return new NativeLogFile(path, await openDirect(path), (descriptor, source, offset) =>
      this.#write(descriptor, source, offset),
    );
  }

  allocate(sizeBytes: number): Buffer {
    const arena = this.#addon.allocateArena(Math.ceil(sizeBytes / blockBytes) * blockBytes);
    // A transfer to another thread would detach the memory while the kernel reads it.
    markAsUntransferable(arena);
    return Buffer.from(arena, 0, sizeBytes);
  }

  /** Waits for writes in flight, which are not heard of any more, and frees what the addon holds. */
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

  /** Resolves to the number of bytes written or a negative errno. */
  #write(descriptor: number, source: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting[this.#writer.write(descriptor, source, offset)] = resolve;
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

type Write = (descriptor: number, source: Uint8Array, offset: number) => Promise<number>;

class NativeLogFile implements LogFile {
  readonly #path: string;
  readonly #write: Write;
  #descriptor: number;
  #direct = true;

  constructor(path: string, descriptor: number, write: Write) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#write = write;
  }

  async writeDurably(source: Uint8Array, offset: number): Promise<void> {
    for (let written = 0; written < source.length; ) {
      const rest = written === 0 ? source : source.subarray(written);
      const result = await this.#write(this.#descriptor, rest, offset + written);
      // The kernel may take a part, most often just before it runs out of space.
      if (result > 0 && result % blockBytes === 0) written += result;
      else if (result === refused && this.#direct) await this.#throughPageCache();
      else throw failureOf(this.#path, result);
    }
  }

  close(): Promise<void> {
    return closeDescriptor(this.#path, this.#descriptor);
  }

  /** Some file systems open a file for direct I/O and then refuse every write: nothing was written. */
  async #throughPageCache(): Promise<void> {
    const descriptor = await openDescriptor(this.#path, constants.O_WRONLY);
    await closeDescriptor(this.#path, this.#descriptor);
    this.#descriptor = descriptor;
    this.#direct = false;
  }
}

/** -EINVAL. */
const refused = -22;

/** Direct where the file system knows it; through the page cache, as durably, where it does not. */
async function openDirect(path: string): Promise<number> {
  try {
    return await openDescriptor(path, constants.O_WRONLY | constants.O_DIRECT);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    return openDescriptor(path, constants.O_WRONLY);
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
