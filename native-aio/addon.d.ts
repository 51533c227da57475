// Printed by build.mjs from src/lib.rs: do not edit.

/** Version of this addon; the loader refuses another one than its own. */
export declare function version(): string;

/** Writes that one `DurableWriter` may have in flight. */
export declare function maxInFlight(): number;

/** Why io_uring cannot be used here, or null when it can. Tries it; kernel versions say little. */
export declare function ioUringObstacle(): string | null;

/** The checksum of the log (src/storage/crc.ts), continuing from `previous`. */
export declare function crc(bytes: Uint8Array, previous: number): number;

/**
 * Tells V8 that objects of the calling thread keep so many bytes more (or less, below 0) alive outside of its heap: it collects
 * sooner. For memory that it does not count by itself, as SharedArrayBuffers.
 */
export declare function adjustExternalMemory(changeBytes: number): void;

/**
 * Page-aligned zeroed memory of `sizeBytes`, unmapped when it is collected. Mark it untransferable: a transfer
 * would detach it while the kernel writes from it.
 */
export declare function allocateArena(sizeBytes: number): ArrayBuffer;

/** Carries out durable writes on the calling thread's event loop, main thread or worker. */
export declare class DurableWriter {
  /**
   * `onCompletions(count)` is called once per wake-up, after `count` pairs of (ticket, result) were put into
   * `completions`; a result is the number of bytes written or a negative errno. `completions` holds at least
   * 2 * maxInFlight() elements and must not be transferred. Throws where io_uring is asked for and not available.
   */
  constructor(ioUring: boolean, onCompletions: (count: number) => void, completions: Int32Array)
  /**
   * Starts a durable write of all of `source` and returns its ticket. `source` must not be changed before its
   * completion; it may be dropped, but not transferred. `descriptor` must stay open until then. Throws when
   * maxInFlight() writes are in flight, and for good once the kernel refused a submission.
   *
   * `separateSync`, for io_uring: write and sync are two requests of one submission, the second linked behind the
   * first, instead of one with both. For a direct write to a device that needs a flush after it: the kernel ends such
   * a request on a thread of the processor that the device interrupts, after whatever runs there. A write that was
   * taken in part is durable only with its rest then.
   */
  write(descriptor: number, source: Uint8Array, position: number, separateSync: boolean): number
  /**
   * Makes a file of `sizeBytes` zeros, a multiple of 4096, first under a temporary name; returns a ticket. The result is
   * a descriptor for direct writes, with zeros and name durable, or a negative errno and nothing left behind: -EINVAL
   * where the file system has no direct I/O. Only where `ioUring` is false: the thread waits for the disk.
   */
  createZeroed(directory: string, temporaryName: string, name: string, sizeBytes: number): number
  /**
   * For writes that have been in flight for suspiciously long: a sync of its own that the kernel has not begun, for want
   * of a thread, is taken back, and its write repeated with `RWF_DSYNC`. All complete as they would have.
   */
  takeBackSyncs(): void
  /** Waits for the writes in flight, without calling back, and frees everything. Idempotent. */
  close(): void
}

/** A bell on the calling thread, main thread or worker, that other threads of the process ring. */
export declare class Doorbell {
  /**
   * `onRing()` is called soon after each `ringDoorbell(number)`, once for several that came close together. The bell does
   * not keep the event loop alive. Throws when another bell has the number.
   */
  constructor(number: number, onRing: () => void)
  /** `onRing` is not called any more, and the number is free. Idempotent. */
  close(): void
}

/** Rings the bell of this number, whichever thread has it. Without effect where there is none (any more). */
export declare function ringDoorbell(number: number): void;

/**
 * Reads TCP sockets on the calling thread's event loop, all that are readable with one call into JavaScript. Bytes leave the
 * kernel only after that call, so that the answers written in it carry the acknowledgement.
 */
export declare class SocketReader {
  /**
   * `onReadable(count)` is called after `count` pairs of (number, result) were put into `pieces`, which holds at least 128
   * elements. A result is the number of bytes, 0 for the end of the stream, or a negative errno; behind the last two
   * nothing follows. The bytes lie in `bytes`, one piece behind the other, until the call returns. Neither may be
   * transferred.
   */
  constructor(onReadable: (count: number) => void, bytes: Uint8Array, pieces: Int32Array)
  /**
   * Takes in a socket that nobody else reads, and returns its number. It is not read before `start`, and must stay open
   * until `remove`. Throws for one that is not TCP.
   */
  add(descriptor: number): number
  /** Reads it from now on. */
  start(number: number): void
  /** Reads nothing of it until `start`. */
  stop(number: number): void
  /**
   * What has arrived behind everything that was handed over, without waiting: the number of bytes put into `target`, 0 at
   * the end of the stream, a negative errno; null for nothing.
   */
  take(number: number, target: Uint8Array): number | null
  /** Forgets it: somebody else may read or close it now. What was handed over is not read again. */
  remove(number: number): void
}
