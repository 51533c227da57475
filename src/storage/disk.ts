/**
 * The few file operations that the log needs. node-disk.ts does them with node:fs, native-aio with io_uring,
 * the simulator on a memory that forgets and tears what was not synced; test/conformance/disk.ts is what all of
 * them must pass. Paths are absolute. Failures reject with an error that carries `code` as Node's do (ENOENT,
 * EEXIST, EIO); a full device rejects with DiskFullError.
 */
export interface Disk {
  /** Names in a directory, unsorted; an absent directory is an error. */
  list(directory: string): Promise<readonly string[]>;
  /** Opens for reading at any offset. A file that is removed while open can be read until it is closed. */
  openForReading(path: string): Promise<ReadableFile>;
  /** Creates a new file, which must not exist. Mode 0600. */
  create(path: string): Promise<WritableFile>;
  /** Opens an existing file to change it in place. */
  openForWriting(path: string): Promise<WritableFile>;
  /** Opens an existing file for durable writes within its present size. */
  openLog(path: string): Promise<LogFile>;
  /**
   * Makes a log file of `sizeBytes` zeros, durable with its name, under `tmp-` and the name until it is whole. For disks that
   * have a quicker way than the other operations; undefined where it does not work.
   */
  readonly createLog?: (
    directory: string,
    name: string,
    sizeBytes: number,
  ) => Promise<LogFile | undefined>;
  /** The checksum of crc.ts, where this disk has a quicker way to it. */
  readonly crc?: (bytes: Uint8Array, previous?: number) => number;
  /** Zeroed memory for `writeDurably`, aligned as the disk needs it. Lives as long as it is referred to. */
  allocate(sizeBytes: number): Buffer;
  /**
   * A durable write has been under way for seconds: where the disk can lose sight of one it takes it up again. Nothing
   * happens to one that is merely slow.
   */
  readonly nudge?: () => void;
  /** Replaces an existing `to` in one step. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(directory: string): Promise<void>;
}

export interface ReadableFile {
  readonly sizeBytes: number;
  /** Fills `target` from `offset`; returns how many bytes there were. */
  read(target: Uint8Array, offset: number): Promise<number>;
  close(): Promise<void>;
}

export interface WritableFile {
  /** Writes without making durable: `sync` does that. Extends the file where needed. */
  write(source: Uint8Array, offset: number): Promise<void>;
  /** Makes all writes and the size durable. */
  sync(): Promise<void>;
  /** Sets the size; new bytes are zero. */
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** Blocks of direct I/O: offset, length and memory of `writeDurably` are multiples of it. */
export const blockBytes = 4096;

export interface LogFile {
  /**
   * Writes `source`, a part of what `allocate` gave, at `offset` and makes it durable, as one operation. One
   * call at most is under way on a file. After a failure nothing is known of the bytes: it is never retried, but
   * for a full device, where the same bytes may be written to the same place again.
   */
  writeDurably(source: Uint8Array, offset: number): Promise<void>;
  close(): Promise<void>;
}

/** The whole file: for those that are known to be small. */
export async function readWhole(disk: Disk, path: string): Promise<Buffer> {
  const file = await disk.openForReading(path);
  try {
    const bytes = Buffer.alloc(file.sizeBytes);
    return bytes.subarray(0, await file.read(bytes, 0));
  } finally {
    await file.close();
  }
}

/** Creates `path` with these bytes, durable but for its name in the directory. A failure leaves nothing behind. */
export async function writeWhole(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.create(path);
  try {
    await file.write(bytes, 0);
    await file.sync();
  } catch (error) {
    await disk.remove(path).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}
