import type { Index, ServerId, Term } from '../base/ids.ts';
import type { Configuration, Entry } from './log.ts';

export { encodePeerMessage } from './peer-codec.ts';

/** What one server says to another, as it is on the wire. */
export type WirePeerMessage =
  | RequestVote
  | RequestVoteResult
  | AppendEntries
  | AppendEntriesResult
  | InstallSnapshotHeader
  | TimeoutNow;

export interface RequestVote {
  readonly kind: 'requestVote';
  /** The candidate's term; in a pre-vote the term it would start. */
  readonly term: Term;
  readonly candidate: ServerId;
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  /** The leader itself asked for this election (leadership transfer). */
  readonly disruptLeader: boolean;
  readonly preVote: boolean;
}

export interface RequestVoteResult {
  readonly kind: 'requestVoteResult';
  readonly term: Term;
  readonly granted: boolean;
  readonly preVote: boolean;
}

export interface AppendEntries {
  readonly kind: 'appendEntries';
  readonly term: Term;
  readonly prevIndex: Index;
  readonly prevTerm: Term;
  readonly leaderCommit: Index;
  readonly entries: readonly Entry[];
  /**
   * Numbers the leader's messages, so that an answer proves when the follower still followed (leases,
   * ReadIndex). 0 from servers that do not number them. Travels in the word after the entry headers that C
   * servers leave undefined and ignore (docs/decisions/0003-rounds.md).
   */
  readonly round: number;
}

/** Answers AppendEntries and InstallSnapshot. */
export interface AppendEntriesResult {
  readonly kind: 'appendEntriesResult';
  readonly term: Term;
  /** 0 when accepted, else the previous (or snapshot) index that was refused. */
  readonly rejected: Index;
  /** The follower's last stored index. */
  readonly lastIndex: Index;
  /** The `round` of the message answered, in the features word; 0 from servers that do not echo it. */
  readonly round: number;
}

/** `dataSize` bytes of the snapshot follow the header. */
export interface InstallSnapshotHeader {
  readonly kind: 'installSnapshot';
  readonly term: Term;
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  readonly configurationIndex: Index;
  readonly configuration: Configuration;
  readonly dataSize: number;
}

export interface TimeoutNow {
  readonly kind: 'timeoutNow';
  readonly term: Term;
  readonly lastIndex: Index;
  readonly lastTerm: Term;
}
