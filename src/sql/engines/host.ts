/** What SQLite needs of the outside: nothing here is replicated, it only feeds SQL functions. */
export interface EngineHost {
  /** Milliseconds since 1970, for `datetime('now')`. */
  wallClockMs(): number;
  /** Fills `target`, for `random()`. */
  randomBytes(target: Uint8Array): void;
}
