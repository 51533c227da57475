import { constants } from 'node:fs';
import { join } from 'node:path';
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
type Writer = InstanceType<NativeAddon['DurableWriter']>;

/**
 * The disk with the log on native-aio: one request writes and makes durable, straight from aligned memory, without
 * libuv's thread pool. Its segments are made by a thread of the addon's own, past the page cache: a direct write to a
 * page that is in there is not taken at once. Everything but the log goes through node:fs, where no append waits for it.
 * Belongs to the thread that made it.
 */
export class NativeDisk implements Disk {
  readonly #node = new NodeDisk();
  readonly #addon: NativeAddon;
  readonly #writer: Writer;
  /** By ticket. */
  readonly #waiting: (Settle | undefined)[];
  /** By directory of the log. */
  readonly #needsFlush = new Map<string, boolean>();
  /** Makes segments; there when the first was asked for, undefined where there can be no thread. */
  #maker: { readonly writer: Writer; readonly waiting: (Settle | undefined)[] } | undefined;

  /** Throws when `ioUring` is asked for and this host forbids it. */
  constructor(addon: NativeAddon, ioUring: boolean) {
    this.#addon = addon;
    const { writer, waiting } = openWriter(addon, ioUring);
    this.#writer = writer;
    this.#waiting = waiting;
  }

  async openLog(path: string): Promise<LogFile> {
    return new NativeLogFile(path, await openDirect(path), this.#start);
  }

  async createLog(
    directory: string,
    name: string,
    sizeBytes: number,
  ): Promise<LogFile | undefined> {
    const path = join(directory, name);
    this.#maker ??= openWriter(this.#addon, false);
    const { writer, waiting } = this.#maker;
    const result = await new Promise<number>((resolve) => {
      waiting[writer.createZeroed(directory, `tmp-${name}`, name, sizeBytes)] = resolve;
    });
    // No direct I/O here: segments are made, and written, through the page cache.
    if (result === refused) return undefined;
    if (result < 0) throw failureOf(path, result, 'create');
    // A directory stays on its device; asking again would take a trip to the thread pool.
    const separateSync = this.#needsFlush.get(directory) ?? (await needsFlush(result));
    this.#needsFlush.set(directory, separateSync);
    return new NativeLogFile(path, { descriptor: result, direct: true, separateSync }, this.#start);
  }

  readonly #start: StartWrite = (request, settle) => {
    const { descriptor, source, position, separateSync } = request;
    this.#waiting[this.#writer.write(descriptor, source, position, separateSync)] = settle;
  };

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
    this.#maker?.writer.close();
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
}

/** A writer, and by ticket who hears what became of a write. */
function openWriter(
  addon: NativeAddon,
  ioUring: boolean,
): { readonly writer: Writer; readonly waiting: (Settle | undefined)[] } {
  const waiting = new Array<Settle | undefined>(addon.maxInFlight()).fill(undefined);
  const completions = new Int32Array(addon.maxInFlight() * 2);
  markAsUntransferable(completions.buffer);
  const complete = (count: number): void => {
    for (let at = 0; at < count * 2; at += 2) {
      const ticket = completions[at] as number;
      const settle = waiting[ticket];
      waiting[ticket] = undefined;
      settle?.(completions[at + 1] as number);
    }
  };
  return { writer: new addon.DurableWriter(ioUring, complete, completions), waiting };
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
function failureOf(path: string, result: number, operation = 'write'): Error {
  if (result >= 0) return new Error(`${path}: a write ended after ${result} bytes`);
  const code = getSystemErrorName(result);
  const text = getSystemErrorMap().get(result)?.[1] ?? 'unknown error';
  const error = Object.assign(new Error(`${code}: ${text}, ${operation} '${path}'`), {
    code,
    path,
  });
  return code === 'ENOSPC' || code === 'EDQUOT' ? new DiskFullError(path, error) : error;
}
