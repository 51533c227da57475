/** What a session allows its client. Times in milliseconds, sizes in bytes. */
export interface SessionLimits {
  /** Longest message. A longer one closes the connection. */
  readonly maxMessageBytes: number;
  /** How long a writer waits for its turn before "database is locked"; 0: it does not wait. */
  readonly busyTimeoutMs: number;
  /** An open transaction that idles longer is rolled back; 0: never. */
  readonly idleTransactionTimeoutMs: number;
  /** How long after the loss of a leader clients are kept waiting for the next one; 0: not at all. */
  readonly leaderWaitMs: number;
  /** A statement that runs longer without a pause is interrupted; 0: never. */
  readonly statementTimeoutMs: number;
  /** A statement that takes longer is told of; 0: none is. */
  readonly slowStatementMs: number;
  /** So much is told of its text. */
  readonly maxLoggedSqlBytes: number;
  /** A query whose rows are not read for longer is abandoned: it keeps old pages in memory; 0: never. */
  readonly maxStalledQueryMs: number;
  /** Prepared statements of one connection. */
  readonly maxStatementsPerSession: number;
  /** Statements that a connection runs by their text and that stay compiled for the next time; 0: none. */
  readonly maxCachedStatementsPerSession: number;
  /** The same, of all connections together. */
  readonly maxCachedStatements: number;
  /** Connections on which the reads of all sessions of a database run; 0: each session reads on its own. */
  readonly maxReadersPerDatabase: number;
  /** The same, of all databases together. */
  readonly maxReaders: number;
  /** Statements that each of them keeps compiled. */
  readonly maxCachedStatementsPerReader: number;
  /** A longer text does not stay compiled, and runs on no reader. */
  readonly maxCachedTextBytes: number;
  /** Rows of a writing statement are held until it is committed, at most this many bytes. */
  readonly maxReturningBytes: number;
  /** No more is read from a client while this much of its requests waits. */
  readonly maxQueuedRequestBytes: number;
  /** No more is produced for a client while this much waits for it. */
  readonly outputHighWaterBytes: number;
}

/** Reasonable values; the server sets those that an operator can change. */
export const defaultSessionLimits: SessionLimits = {
  maxMessageBytes: 64 * 1024 * 1024,
  busyTimeoutMs: 5000,
  idleTransactionTimeoutMs: 30_000,
  leaderWaitMs: 5000,
  statementTimeoutMs: 60_000,
  slowStatementMs: 0,
  maxLoggedSqlBytes: 1000,
  maxStalledQueryMs: 60_000,
  maxStatementsPerSession: 10_000,
  maxCachedStatementsPerSession: 16,
  maxCachedStatements: 4096,
  maxReadersPerDatabase: 4,
  maxReaders: 64,
  maxCachedStatementsPerReader: 256,
  maxCachedTextBytes: 1000,
  maxReturningBytes: 16 * 1024 * 1024,
  maxQueuedRequestBytes: 64 * 1024,
  outputHighWaterBytes: 256 * 1024,
};
