import type { Index, Instant, ServerId, Term } from '../base/ids.ts';
import type { Configuration, Entry, Role, Server } from '../protocol/log.ts';

export type { Configuration, Entry, Index, Instant, Role, Server, ServerId, Term };

/** What a snapshot covers: every entry up to `index`, and the newest configuration among them. */
export interface SnapshotMeta {
  readonly index: Index;
  readonly term: Term;
  readonly configuration: Configuration;
  readonly configurationIndex: Index;
}

/** The bytes of a snapshot (node-to-node and on disk uncompressed: the same), never whole in memory. */
export interface SnapshotData {
  readonly sizeBytes: number;
  /** Each call starts from the beginning. Chunks may be of any size. */
  chunks(): AsyncIterable<Uint8Array>;
  /** Frees what the snapshot pins (pages, a file). Safe to call twice. */
  release(): void;
}

/** A snapshot and what it covers. */
export interface Snapshot {
  readonly meta: SnapshotMeta;
  readonly data: SnapshotData;
}

/** What must survive a crash besides the log (Raft paper, figure 2: currentTerm, votedFor). */
export interface Vote {
  readonly term: Term;
  readonly votedFor: ServerId | undefined;
}
