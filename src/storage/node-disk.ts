import * as fs from 'node:fs';
import type { Disk, LogFile, ReadableFile, WritableFile } from './disk.ts';
import { DiskFullError } from './errors.ts';

/**
 * The disk through node:fs. A durable write is one write on an O_DSYNC descriptor: one trip to libuv's thread
 * pool, where write and fdatasync would be two. Callbacks and bare descriptors, since a FileHandle costs a third
 * more processor time per append.
 */
export class NodeDisk implements Disk {
  list(directory: string): Promise<readonly string[]> {
    return call(directory, (done) => fs.readdir(directory, done));
  }

  async openForReading(path: string): Promise<ReadableFile> {
    const descriptor = await openDescriptor(path, fs.constants.O_RDONLY);
    const stats = await call<fs.Stats>(path, (done) => fs.fstat(descriptor, done));
    return {
      sizeBytes: stats.size,
      read: (target, offset) => readFully(path, descriptor, target, offset),
      close: () => closeDescriptor(path, descriptor),
    };
  }

  async create(path: string): Promise<WritableFile> {
    const flags = fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_RDWR;
    return writable(path, await openDescriptor(path, flags));
  }

  async openForWriting(path: string): Promise<WritableFile> {
    return writable(path, await openDescriptor(path, fs.constants.O_RDWR));
  }

  async openLog(path: string): Promise<LogFile> {
    const descriptor = await openDescriptor(path, fs.constants.O_WRONLY | fs.constants.O_DSYNC);
    return {
      writeDurably: (source, offset) => writeFully(path, descriptor, source, offset),
      close: () => closeDescriptor(path, descriptor),
    };
  }

  allocate(sizeBytes: number): Buffer {
    return Buffer.alloc(sizeBytes);
  }

  rename(from: string, to: string): Promise<void> {
    return call(to, (done) => fs.rename(from, to, done));
  }

  remove(path: string): Promise<void> {
    return call(path, (done) => fs.unlink(path, done));
  }

  async syncDirectory(directory: string): Promise<void> {
    const descriptor = await openDescriptor(
      directory,
      fs.constants.O_RDONLY | fs.constants.O_DIRECTORY,
    );
    try {
      // Never a matter of space that could be waited for: names are written already.
      await new Promise<void>((resolve, reject) => {
        fs.fsync(descriptor, (error) => (error ? reject(error) : resolve()));
      });
    } finally {
      await closeDescriptor(directory, descriptor);
    }
  }
}

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** A full device is told apart: whoever can wait for space may want to. */
function call<T = void>(path: string, start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(translated(path, error)) : resolve(value)));
  });
}

function translated(path: string, error: NodeJS.ErrnoException): Error {
  return error.code === 'ENOSPC' || error.code === 'EDQUOT'
    ? new DiskFullError(path, error)
    : error;
}

/** A descriptor, for those who write with it themselves. Mode 0600. */
export function openDescriptor(path: string, flags: number): Promise<number> {
  return call(path, (done) => fs.open(path, flags, 0o600, done));
}

/** Closes what `openDescriptor` opened. */
export function closeDescriptor(path: string, descriptor: number): Promise<void> {
  return call(path, (done) => fs.close(descriptor, (error) => done(error ?? null)));
}

function writable(path: string, descriptor: number): WritableFile {
  return {
    write: (source, offset) => writeFully(path, descriptor, source, offset),
    sync: () => call(path, (done) => fs.fsync(descriptor, done)),
    truncate: (sizeBytes) => call(path, (done) => fs.ftruncate(descriptor, sizeBytes, done)),
    close: () => closeDescriptor(path, descriptor),
  };
}

/** The kernel may take a part, most often just before it runs out of space: the rest is written next. */
function writeFully(
  path: string,
  descriptor: number,
  source: Uint8Array,
  offset: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let from = 0;
    function next(): void {
      fs.write(descriptor, source, from, source.length - from, offset + from, written);
    }
    function written(error: NodeJS.ErrnoException | null, count: number): void {
      from += count;
      if (error) reject(translated(path, error));
      else if (from === source.length) resolve();
      else next();
    }
    next();
  });
}

async function readFully(
  path: string,
  descriptor: number,
  target: Uint8Array,
  offset: number,
): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const at = filled;
    const count = await call<number>(path, (done) =>
      fs.read(descriptor, target, at, target.length - at, offset + at, (error, bytes) =>
        done(error, bytes),
      ),
    );
    if (count === 0) break;
    filled += count;
  }
  return filled;
}
