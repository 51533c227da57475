/** Limits on what SQL can grow inside the engine. */
export interface EngineLimits {
  /** Longest SQL statement (SQLITE_LIMIT_SQL_LENGTH); longer is SQLITE_TOOBIG (18). */
  readonly statementBytes: number;
  /** Longest value or row (SQLITE_LIMIT_LENGTH); it is built in the engine's memory. */
  readonly valueBytes: number;
  /** Temporary tables, sorters and spilled journals of all connections together; more is SQLITE_FULL (13). */
  readonly temporaryBytes: number;
  /**
   * Pages that each connection keeps in the engine's memory, up to 20 of them from its first query on. A miss costs less
   * than a microsecond; ten thousand idle connections cost ten thousand times this.
   */
  readonly cachePages: number;
  /** The same of a reader, which all sessions of a database share: it takes as many as it has read. */
  readonly readerCachePages: number;
}

export const defaultEngineLimits: EngineLimits = {
  statementBytes: 1_000_000,
  valueBytes: 268_435_456,
  temporaryBytes: 1_073_741_824,
  cachePages: 10,
  readerCachePages: 512,
};
