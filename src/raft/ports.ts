import type { Applied, Outbound, Persist, Sender, Transition } from './events.ts';
import type { PeerMessage } from './messages.ts';
import type { Entry, Server, Snapshot, SnapshotData, SnapshotMeta, Term, Vote } from './types.ts';

/** What survived the last run of this server. `entries` follow the snapshot without a gap. */
export interface Loaded {
  readonly vote: Vote;
  readonly snapshot: SnapshotMeta | undefined;
  readonly entries: readonly Entry[];
}

/** Space on the device of a store. */
export interface DiskSpace {
  /** The device is full: what is left is for what is on the way, and for elections. */
  readonly lacking: boolean;
  /** Calls `listener` whenever `lacking` has changed. */
  onChange(listener: () => void): void;
  /** Refuses what waits for space, and whatever else will find none: the process stops. */
  giveUp(): void;
}

/** The log, the vote and the snapshots on a disk; in the simulator on a faulty memory. */
export interface RaftStore {
  load(): Promise<Loaded>;
  /**
   * Resolves once durable. Calls are carried out in the order they were made; those that wait for the disk
   * together are made durable together. Rejects only when the disk failed: then the process must stop. A full
   * disk is waited for.
   */
  persist(write: Persist): Promise<void>;
  /** Whether there is space for more; absent where it never ends. */
  readonly space?: DiskSpace;
  /** Writes a snapshot of our own machine, then trims the log behind it. Appends go on meanwhile. */
  writeSnapshot(snapshot: Snapshot): Promise<void>;
  /** The newest snapshot on disk, decompressed as it is read. Release it after use. */
  openSnapshot(meta: SnapshotMeta): Promise<SnapshotData>;
  /**
   * Stores bytes that arrive from the leader in a temporary file. The result goes into an InstallSnapshot
   * message; `persist` puts it in place, `release` removes it.
   */
  receiveSnapshot(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<Snapshot>;
  close(): Promise<void>;
}

/**
 * The links to the other servers. Messages may be lost or overtake each other, but are never changed, and never
 * arrive twice: the answers of servers that do not number them are counted (progress.ts).
 */
export interface Transport {
  /** The message may wait for the end of the turn, so that all of one turn leave together. */
  send(outbound: Outbound): void;
  /** What waits leaves now. */
  flush(): void;
  /** Streams a snapshot; resolves to whether it left whole. */
  sendSnapshot(to: Server, term: Term, snapshot: Snapshot): Promise<boolean>;
}

/** What the transport reports back to the driver. */
export interface TransportEvents {
  received(from: Sender, message: PeerMessage): void;
  /** What this peer sent has all been received, and it sends nothing until it dials anew. */
  disconnected(peer: Sender['id']): void;
  unreachable(peer: Sender['id']): void;
  snapshotArriving(from: Sender, term: Term): void;
}

/**
 * The replicated machine: src/sql implements it over the page store, on the main thread. Calls come in
 * order and are carried out in order; none is answered, so that the driver can live on another thread.
 */
export interface StateMachine {
  /** Committed entries. One with a ticket is this machine's own proposal: its `data` may be empty. */
  apply(entries: readonly Applied[]): void;
  /** What changed about this server's place in the cluster. Losing leadership voids own proposals. */
  transition(transition: Transition): void;
  /** The state after the last entry applied, pinned until it is released. Not while `restore` is under way. */
  takeSnapshot(): SnapshotData;
  /** Replaces the whole state. Entries applied after this call wait until it has resolved. */
  restore(snapshot: Snapshot): Promise<void>;
}
