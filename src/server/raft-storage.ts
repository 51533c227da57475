import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { type DiskBackend, openDisk } from '../storage/open-disk.ts';
import { DiskRaftStore } from '../storage/raft-store.ts';

/** Where the log is and how it is written. Plain data: it may cross to another thread. */
export interface RaftStorageOptions {
  /** An existing directory that no other process uses. */
  readonly directory: string;
  readonly disk: DiskBackend | 'auto';
  /** Entries kept before a snapshot. */
  readonly trailingEntries: number;
  /** Most bytes of the segments that hold them; unlimited by default. */
  readonly trailingBytes?: number;
  /** Moves damaged segments aside where the start would be refused. */
  readonly autoRecovery: boolean;
}

/** The store in a data directory, for the thread that calls. */
export function openRaftStore(
  options: RaftStorageOptions,
  clock: Clock,
  logger: Logger,
): DiskRaftStore {
  const { directory, trailingEntries, autoRecovery } = options;
  const trailingBytes = options.trailingBytes ?? Number.POSITIVE_INFINITY;
  const { disk, backend, reason } = openDisk(options.disk);
  logger.info({ backend, reason }, 'log is written with');
  return new DiskRaftStore({
    disk,
    directory,
    clock,
    logger,
    trailingEntries,
    trailingBytes,
    autoRecovery,
  });
}
