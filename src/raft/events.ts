import type { ErrorName } from '../base/errors.ts';
import type { PeerMessage } from './messages.ts';
import type {
  Configuration,
  Entry,
  Index,
  Role,
  Server,
  ServerId,
  Snapshot,
  SnapshotMeta,
  Term,
  Vote,
} from './types.ts';

/** Names one proposal, read or change until its outcome is known. Never reused by a process. */
export type Ticket = number;

/** A membership change: one server at a time (Raft dissertation, section 4.1). */
export type Change =
  | { readonly kind: 'add'; readonly id: ServerId; readonly address: string }
  | { readonly kind: 'assign'; readonly id: ServerId; readonly role: Role }
  | { readonly kind: 'remove'; readonly id: ServerId };

/** Everything that can happen to a Raft server. Nothing else changes its state. */
export type Event =
  | { readonly type: 'tick' }
  | { readonly type: 'receive'; readonly from: Sender; readonly message: PeerMessage }
  | {
      readonly type: 'propose';
      /** The leadership in which the commands were made; in any other term they are refused. */
      readonly term: Term;
      readonly proposals: readonly { readonly ticket: Ticket; readonly command: Buffer }[];
    }
  /** Settles once a majority confirmed that this server still led when the event came (ReadIndex). */
  | { readonly type: 'read'; readonly ticket: Ticket }
  | { readonly type: 'change'; readonly ticket: Ticket; readonly change: Change }
  /** `to` undefined: the leader picks the voter that is furthest along. */
  | { readonly type: 'transfer'; readonly ticket: Ticket; readonly to: ServerId | undefined }
  | { readonly type: 'persisted'; readonly write: number }
  /** A snapshot that `takeSnapshot` asked for is on disk, or could not be taken (`meta` undefined). */
  | {
      readonly type: 'snapshotTaken';
      readonly meta: SnapshotMeta | undefined;
      /** Of the databases in it, uncompressed. */
      readonly sizeBytes?: number;
    }
  /** A snapshot that `shipSnapshot` asked for was handed to the network whole, or was not. */
  | { readonly type: 'snapshotShipped'; readonly to: ServerId; readonly whole: boolean }
  /** Bytes of a snapshot are coming in: the leader is alive although its heartbeats wait behind them. */
  | { readonly type: 'snapshotArriving'; readonly from: Sender; readonly term: Term }
  /** The connection on which this peer sends broke: its process may be gone, and it says nothing until it dials anew. */
  | { readonly type: 'disconnected'; readonly peer: ServerId }
  /** The link to this peer broke: messages sent since the last answer may be lost. */
  | { readonly type: 'unreachable'; readonly peer: ServerId };

/** Who a peer says it is: the id and address of its CONNECT. */
export interface Sender {
  readonly id: ServerId;
  readonly address: string;
}

/** What the outside must do now. The driver carries it out in this order and decides nothing. */
export interface Effects {
  /** One durable write. Writes are carried out in order; `then` leaves only once it is on disk. */
  readonly persist: Persist | undefined;
  /** May leave at once, in any order, and may be lost. */
  readonly send: readonly Outbound[];
  /** A snapshot from the leader was accepted: replace the machine's state with it. */
  readonly restore: Snapshot | undefined;
  /** A snapshot that is not needed after all: release it. */
  readonly discard: Snapshot | undefined;
  /** Committed entries, each handed out exactly once, in order. */
  readonly apply: readonly Applied[];
  /** What became of reads, changes, transfers and refused proposals. After `apply`. */
  readonly settle: readonly Settlement[];
  /** Take a snapshot of the machine as it is after the last entry handed out. */
  readonly takeSnapshot: SnapshotMeta | undefined;
  /** A follower is too far behind: read our newest snapshot from disk and send it. */
  readonly shipSnapshot:
    | { readonly to: Server; readonly term: Term; readonly meta: SnapshotMeta }
    | undefined;
  /** Role, term, leader or configuration changed: what logs, metrics and sessions want to know. */
  readonly transition: Transition | undefined;
  /** A message that no correct server sends. It was dropped, nothing changed: what logs want to know. */
  readonly ignored: Ignored | undefined;
}

/** Why a peer's message was dropped. */
export interface Ignored {
  readonly from: Sender;
  readonly why: string;
}

/** A message and the server it goes to; `to.address` is where to dial. */
export interface Outbound {
  readonly to: { readonly id: ServerId; readonly address: string };
  readonly message: PeerMessage;
}

/** One durable write, made of up to four parts that are carried out in this order. */
export interface Persist {
  /** Counts up from 1; comes back in the `persisted` event. */
  readonly write: number;
  readonly vote: Vote | undefined;
  /** Received from the leader: put it in place, drop the log that it covers or contradicts. */
  readonly snapshot: Snapshot | undefined;
  /** Remove this entry and all behind it. */
  readonly truncateFrom: Index | undefined;
  readonly append: readonly Entry[];
  /** The answers that this write makes true: they leave when it is durable, not before. */
  readonly then: readonly Outbound[];
}

/** A committed entry; `ticket` when it was proposed here in the present leadership. */
export interface Applied {
  readonly entry: Entry;
  readonly ticket: Ticket | undefined;
}

/** The outcome of a ticket. Committed proposals have none: their outcome is their `apply`. */
export type Settlement =
  /** `index`: everything up to it must be applied before the read may be answered. */
  | { readonly ticket: Ticket; readonly outcome: 'done'; readonly index: Index }
  | { readonly ticket: Ticket; readonly outcome: 'refused'; readonly why: ErrorName };

/** What changed, whole: nothing in it has to be remembered from the transition before. */
export interface Transition {
  readonly state: 'follower' | 'preCandidate' | 'candidate' | 'leader';
  readonly term: Term;
  readonly leader: { readonly id: ServerId; readonly address: string } | undefined;
  /** Leading, and an entry of this term was handed to `apply`: reads and writes may start. */
  readonly ready: boolean;
  /** Leading, and handing leadership over: new writes and changes are refused. */
  readonly transferring: boolean;
  /** Set while the disk of this server is full: new writes are refused. */
  readonly lacksSpace?: true;
  readonly configuration: Configuration;
}
