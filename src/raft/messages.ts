import type {
  AppendEntries,
  AppendEntriesResult,
  RequestVote,
  RequestVoteResult,
  TimeoutNow,
} from '../protocol/peer-messages.ts';
import type { Snapshot, Term } from './types.ts';

export type { AppendEntries, AppendEntriesResult, RequestVote, RequestVoteResult, TimeoutNow };

/** What one server says to another. All but InstallSnapshot are what is on the wire. */
export type PeerMessage =
  | RequestVote
  | RequestVoteResult
  | AppendEntries
  | AppendEntriesResult
  | InstallSnapshot
  | TimeoutNow;

/** Raft hears of a snapshot when it has been received whole and stored in a temporary file. */
export interface InstallSnapshot {
  readonly kind: 'installSnapshot';
  readonly term: Term;
  readonly snapshot: Snapshot;
}
