import { constants } from 'node:fs';
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { markAsUntransferable } from 'node:worker_threads';
import { crc } from './crc.ts';
import { needsFlush } from './device-cache.ts';
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
    return new NativeLogFile(path, await openDirect(path), (request, settle) => {
      const { descriptor, source, position, separateSync } = request;
      const ticket = this.#writer.write(descriptor, source, position, separateSync);
      this.#waiting[ticket] = settle;
    });
  }

  /** A call into the addon costs as much as a few hundred bytes. */
  readonly crc = (bytes: Uint8Array, previous = 0): number =>
    bytes.length < 256 ? crc(bytes, previous) : this.#addon.crc(bytes, previous);

  allocate(sizeBytes: number): Buffer {
    const arena = this.#addon.allocateArena(Math.ceil(sizeBytes / blockBytes) * blockBytes);
    // A transfer to another thread would detach the memory while the kernel reads it.
    markAsUntransferable(arena);
    return Buffer.from(arena, 0, sizeBytes);
  }

  /** A sync of its own needs a thread of the kernel, which may not have come to be. */
  readonly nudge = (): void => this.#writer.takeBackSyncs();

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

  #complete(completions: Int32Array, count: number): void {
    for (let at = 0; at < count * 2; at += 2) {
      const ticket = completions[at] as number;
      const settle = this.#waiting[ticket];
      this.#waiting[ticket] = undefined;
      settle?.(completions[at + 1] as number);
    }
  }
}

interface WriteRequest {
  readonly descriptor: number;
  readonly source: Uint8Array;
  readonly position: number;
  readonly separateSync: boolean;
}

/** Starts a write; `settle` hears the number of bytes written or a negative errno. */
type StartWrite = (request: WriteRequest, settle: Settle) => void;

/** An open file, and how it is written to. */
interface Opened {
  readonly descriptor: number;
  readonly direct: boolean;
  readonly separateSync: boolean;
}

class NativeLogFile implements LogFile {
  readonly #path: string;
  readonly #start: StartWrite;
  #opened: Opened;

  constructor(path: string, opened: Opened, start: StartWrite) {
    this.#path = path;
    this.#opened = opened;
    this.#start = start;
  }

  writeDurably(source: Uint8Array, offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (result: number): void => {
        // The kernel may take a part, most often just before it runs out of space.
        if (result === source.length) resolve();
        else if (result > 0 && result % blockBytes === 0 && result < source.length) {
          this.writeDurably(source.subarray(result), offset + result).then(resolve, reject);
        } else if (result === refused && this.#opened.direct) {
          const again = (): Promise<void> => this.writeDurably(source, offset);
          this.#throughPageCache().then(again).then(resolve, reject);
        } else reject(failureOf(this.#path, result));
      };
      const { descriptor, separateSync } = this.#opened;
      this.#start({ descriptor, source, position: offset, separateSync }, settle);
    });
  }

  close(): Promise<void> {
    return closeDescriptor(this.#path, this.#opened.descriptor);
  }

  /** Some file systems open a file for direct I/O and then refuse every write: nothing was written. */
  async #throughPageCache(): Promise<void> {
    const opened = await openBuffered(this.#path);
    await closeDescriptor(this.#path, this.#opened.descriptor);
    this.#opened = opened;
  }
}

/** -EINVAL. */
const refused = -22;

/** Direct where the file system knows it; through the page cache, as durably, where it does not. */
async function openDirect(path: string): Promise<Opened> {
  try {
    const descriptor = await openDescriptor(path, constants.O_WRONLY | constants.O_DIRECT);
    return { descriptor, direct: true, separateSync: await needsFlush(descriptor) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    return openBuffered(path);
  }
}

async function openBuffered(path: string): Promise<Opened> {
  const descriptor = await openDescriptor(path, constants.O_WRONLY);
  return { descriptor, direct: false, separateSync: false };
}

/** `result` is a negative errno, or a count that no direct write can end with. */
function failureOf(path: string, result: number): Error {
  if (result >= 0) return new Error(`${path}: a write ended after ${result} bytes`);
  const code = getSystemErrorName(result);
  const text = getSystemErrorMap().get(result)?.[1] ?? 'unknown error';
  const error = Object.assign(new Error(`${code}: ${text}, write '${path}'`), { code, path });
  return code === 'ENOSPC' || code === 'EDQUOT' ? new DiskFullError(path, error) : error;
}
