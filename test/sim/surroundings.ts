import type { Applied, Persist } from '../../src/raft/events.ts';
import type { ServerId, SnapshotMeta } from '../../src/raft/types.ts';
import type { Checkers } from './checkers.ts';

/** Whom the hosts of a simulated world tell what they do. */
export interface Surroundings {
  readonly checkers: Checkers;
  /** A line of the trace; made only when somebody will read it. */
  log(id: ServerId, line: () => string): void;
  /** Something happened that must never happen. */
  fail(error: unknown): void;
  /** The process says that it cannot go on. */
  fatal(id: ServerId, error: unknown): void;
  /** The process has read its disk and takes part. */
  started(id: ServerId): void;
  /** It leads now. */
  elected(id: ServerId): void;
  persisting(id: ServerId, write: Persist): void;
  /** A command is on its way to Raft. */
  proposing(id: ServerId): void;
  applying(id: ServerId, entries: readonly Applied[]): void;
  /** It opens its snapshot, mostly to send it to another. */
  shipping(id: ServerId, meta: SnapshotMeta): void;
  /** Another's snapshot begins to come. */
  receiving(id: ServerId, meta: SnapshotMeta): void;
  /** The machine has applied what it was given, or holds it back behind a snapshot. */
  applied(id: ServerId): void;
  /** The machine is in the state of this snapshot. */
  restored(id: ServerId, meta: SnapshotMeta): void;
}
