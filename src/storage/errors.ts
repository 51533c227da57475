/**
 * Files of the data directory are not as a server may have left them. Names the file, the place, what is
 * wrong and what the operator can do. The server does not start on it.
 */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code = 'DQL_STORAGE';
  readonly path: string;
  /** Bytes from the start of the file, where that says anything. */
  readonly offset: number | undefined;
  readonly what: string;
  readonly nextStep: string;

  constructor(path: string, offset: number | undefined, what: string, nextStep: string) {
    super(`${path}${offset === undefined ? '' : ` at byte ${offset}`}: ${what}. ${nextStep}`);
    this.path = path;
    this.offset = offset;
    this.what = what;
    this.nextStep = nextStep;
  }
}

/** The file system has no room (or no quota) left for a write to `path`. */
export class DiskFullError extends Error {
  override readonly name = 'DiskFullError';
  readonly code = 'DQL_NO_SPACE';
  readonly path: string;

  constructor(path: string, cause: unknown) {
    super(`no space left on the device of ${path}`, { cause });
    this.path = path;
  }
}

/** The code of a DiskStalledError, which is what is left of it on another thread. */
export const stalledDisk = 'DQL_DISK_STALLED';

/** A durable write has made no progress for so long that its disk counts as failed. */
export class DiskStalledError extends Error {
  override readonly name = 'DiskStalledError';
  readonly code = stalledDisk;
  readonly path: string;

  constructor(path: string, seconds: number) {
    super(
      `${path}: a write has not ended for ${seconds} s. The disk has stalled: look at the kernel's log`,
    );
    this.path = path;
  }
}
