/** Bounds on what the links to other servers may hold, and how long they wait. */
export interface PeerLimits {
  /** How long a connection attempt may take. */
  readonly connectTimeoutMs: number;
  /** First and longest pause between two attempts; each is drawn from the upper half of the doubled one before. */
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** A link that lived this long is dialled again at once when it breaks; a shorter one counts as a failed attempt. */
  readonly stableAfterMs: number;
  /** A write that the kernel does not take within this time means that the peer is gone. */
  readonly writeTimeoutMs: number;
  /** A peer that answers nothing for this long although it was asked is dialled again. */
  readonly silenceTimeoutMs: number;
  /** The same after a snapshot, which the peer first has to store and to restore. */
  readonly restoreTimeoutMs: number;
  /** What may wait for one peer; beyond it messages are dropped, and Raft is told. */
  readonly queuedBytes: number;
  readonly queuedMessages: number;
  /** Most bytes handed to the kernel at once: the smaller, the sooner lack of progress shows. */
  readonly writeBytes: number;
  /** Outbound links; one more closes the one that was used longest ago. */
  readonly links: number;
  /** Inbound links of servers that are not members (they may be joining, or were removed). */
  readonly strangers: number;
  /** Bytes of an arriving snapshot that wait for the disk before its link is paused. */
  readonly snapshotQueuedBytes: number;
  /** At most one warning about the same peer in this time. */
  readonly warningIntervalMs: number;
}

/** What the daemon uses; the time limits suit an election timeout of up to `electionTimeoutMs`. */
export function peerLimits(electionTimeoutMs: number): PeerLimits {
  return {
    connectTimeoutMs: Math.min(Math.max(electionTimeoutMs, 500), 5000),
    firstRetryMs: 20,
    longestRetryMs: 1000,
    stableAfterMs: 1000,
    writeTimeoutMs: 10_000,
    silenceTimeoutMs: Math.max(2 * electionTimeoutMs, 2000),
    restoreTimeoutMs: 60_000,
    queuedBytes: 64 * 1024 * 1024,
    queuedMessages: 4096,
    writeBytes: 1024 * 1024,
    links: 128,
    strangers: 32,
    snapshotQueuedBytes: 4 * 1024 * 1024,
    warningIntervalMs: 10_000,
  };
}
