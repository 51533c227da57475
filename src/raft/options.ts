import type { ServerId } from './types.ts';

/** Everything about Raft that can be set. Times are evaluated on the monotonic clock. */
export interface RaftOptions {
  readonly id: ServerId;
  /**
   * T: the shortest silence of the leader after which an election may start. Draws are from [T, 2T), unless the leader's
   * process is known to be gone (election.ts, `suspectLeader`).
   */
  readonly electionTimeoutMs: number;
  /** How often a leader is heard when there is nothing to say. */
  readonly heartbeatMs: number;
  /** How far the clocks of two servers may drift apart during T: taken off every lease. */
  readonly leaseMarginMs: number;
  /** Entries applied since the last snapshot before the next is taken. */
  readonly snapshotThreshold: number;
  /** Data bytes of entries since the last snapshot before the next is taken, however few they are. */
  readonly snapshotThresholdBytes: number;
  /** Entries kept in memory behind a snapshot, for followers that are only a little behind. */
  readonly snapshotTrailing: number;
  /** Most data bytes in them. */
  readonly snapshotTrailingBytes: number;
  /** How long a follower may take to answer a snapshot that left whole. */
  readonly snapshotTimeoutMs: number;
  /** Most data bytes of one AppendEntries; an entry larger than this travels alone. */
  readonly maxMessageBytes: number;
  /** Most entries of one AppendEntries. */
  readonly maxMessageEntries: number;
  /** Most AppendEntries with entries that one peer has not answered. */
  readonly maxInflightMessages: number;
  /** Most bytes in them. */
  readonly maxInflightBytes: number;
  /** Rounds in which a server being promoted must catch up. */
  readonly maxCatchUpRounds: number;
  /** Longest duration of one such round. */
  readonly maxCatchUpRoundMs: number;
}

/** Fills in what `given` leaves out, as C servers have it where they have it. */
export function raftOptions(given: Pick<RaftOptions, 'id'> & Partial<RaftOptions>): RaftOptions {
  const electionTimeoutMs = given.electionTimeoutMs ?? 3000;
  return {
    electionTimeoutMs,
    heartbeatMs: electionTimeoutMs / 10,
    leaseMarginMs: Math.max(1, electionTimeoutMs / 10),
    snapshotThreshold: 4096,
    snapshotThresholdBytes: 128 << 20,
    snapshotTrailing: 8192,
    snapshotTrailingBytes: 128 << 20,
    snapshotTimeoutMs: 30_000,
    maxMessageBytes: 1 << 20,
    maxMessageEntries: 4096,
    maxInflightMessages: 256,
    maxInflightBytes: 16 << 20,
    maxCatchUpRounds: 100,
    maxCatchUpRoundMs: 50_000,
    ...given,
  };
}
