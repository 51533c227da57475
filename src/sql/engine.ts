import { type PackedRows, type RowShape, storageClass } from '../protocol/row-writer.ts';
import type { Writer } from '../protocol/words.ts';
import type { Database, SpeculativeTransaction } from '../vfs/database.ts';

/**
 * SQLite behind a small, synchronous interface: nothing waits between a commit and its capture. Text and
 * blobs cross it as bytes; whoever wants strings decodes them.
 */
export interface Engine {
  /** Build and SQLite version, for `--version`, logs and metrics: "sqlite-wasm 3.51.1". */
  readonly build: string;
  /**
   * A new connection with the default settings (docs/configuration.md, "Connection defaults"). The database
   * must belong to the page store that the engine was made for. A reader has a larger page cache, and cannot write.
   */
  connect(database: Database, use?: ConnectionUse): Connection;
  /** An exception or trap ended a call inside the engine: every further call throws `EngineBroken`. */
  readonly broken: boolean;
  /** Size of the engine's linear memory. It never shrinks. */
  readonly memoryBytes: number;
  /**
   * Lets go of everything the engine held in the page store (writer locks, pins), without running any of its
   * code. Its connections and statements are dead afterwards; a new engine over the same page store goes on.
   */
  discard(): void;
}

/**
 * The engine cannot be used any more (a trap, or an exception thrown through it). The owner calls
 * `discard`, makes a new engine over the same page store, and ends the sessions of the old one.
 */
export class EngineBroken extends Error {
  override readonly name = 'EngineBroken';
}

/** SQLite's storage classes, numbered as in `sqlite3_column_type`. */
export { storageClass };
export type StorageClass = (typeof storageClass)[keyof typeof storageClass];

/** What a connection is for: the statements of one session, or reads of whichever session needs one. */
export type ConnectionUse = 'session' | 'reader';

/**
 * One SQLite connection over one replicated database. Every call that runs SQL throws
 * `DqliteError.fromSqlite` with the extended code and SQLite's own text.
 *
 * Which snapshot a transaction starts on is decided here: writing statements and explicit transactions
 * start on the speculative head, plain reads on what is committed.
 */
export interface Connection {
  readonly database: Database;
  /** No explicit transaction is open. An error can roll one back, so look after every failure. */
  readonly autocommit: boolean;
  /** Nothing is under way: no transaction, and no statement that holds a snapshot. */
  readonly idle: boolean;
  /**
   * A statement compiled here gave the connection state of its own (a setting, a temporary or attached schema): the
   * same text may mean something else on another connection. For ever.
   */
  readonly customized: boolean;
  /** This connection holds the database's writer lock (a write transaction is open). */
  readonly writing: boolean;
  /**
   * Compiles the first statement of `sql` from byte `offset` on. Between the calls for the statements of one text,
   * the first with offset 0, its bytes must not change.
   */
  prepare(sql: Uint8Array, offset?: number): Prepared;
  /**
   * Reads the schema again if it is not that of the head. A statement notices by itself when it is run, but what is only
   * compiled may be compiled against the schema of the last run.
   */
  catchUp(): void;
  /** `sqlite3_last_insert_rowid`: stale values stay, as clients expect. */
  lastInsertRowid(): bigint;
  /** `sqlite3_changes64`. */
  changes(): bigint;
  /**
   * The oldest transaction that a commit on this connection published and that was not taken yet. One step can
   * publish several (`PRAGMA optimize`): ask until undefined, also after a failure, and after the engine broke.
   */
  takeCaptured(): SpeculativeTransaction | undefined;
  /**
   * The newest version that anything read on this connection since the last call depends on. A reply may
   * leave only once that version is committed. 0 when nothing speculative was read.
   */
  takeDependency(): number;
  /**
   * Asks `shouldStop` every thousand virtual machine steps while a statement runs; true ends the statement with
   * SQLITE_INTERRUPT (9, "interrupted"). A writing statement that ends so takes an open transaction with it: SQLite
   * rolls back all of it. `shouldStop` must not throw.
   */
  onProgress(shouldStop: (() => boolean) | undefined): void;
  /** Rolls back what is open and frees everything, statements included. Never throws. */
  close(): void;
}

/** `statement` is undefined when only blanks and comments were left. */
export interface Prepared {
  readonly statement: Statement | undefined;
  /** Byte offset of the first byte that was not consumed. */
  readonly tail: number;
}

/** A compiled statement. Column functions are valid after `step` returned true and until the next call. */
export interface Statement {
  /** Its text, without the values of parameters. Empty for what is answered without SQLite. */
  readonly sql: Uint8Array;
  readonly parameterCount: number;
  readonly columnCount: number;
  /** `sqlite3_stmt_readonly`: COMMIT and plain BEGIN are, BEGIN IMMEDIATE is not. */
  readonly readOnly: boolean;
  /**
   * Its answer tells something of its connection (`changes()`, `pragma_data_version`, also through a view): as it was
   * compiled, and after its first step as it was compiled again.
   */
  readonly connectionBound: boolean;
  /** It may gather the statistics by which queries are planned (ANALYZE, `PRAGMA optimize`). */
  readonly analyzes: boolean;
  /** Indexes count from 1, as SQLite's do. */
  bindInteger(index: number, value: bigint): void;
  bindFloat(index: number, value: number): void;
  /** UTF-8 bytes, not checked. Copied. */
  bindText(index: number, value: Uint8Array): void;
  bindBlob(index: number, value: Uint8Array): void;
  bindNull(index: number): void;
  clearBindings(): void;
  /** True: a row is there. False: done. */
  step(): boolean;
  /** Ready to run again. Reports no error of the last run. Keeps bindings. */
  reset(): void;
  finalize(): void;
  /** Columns count from 0. */
  columnName(column: number): Uint8Array;
  /** Declared type of a plain column reference, as written; undefined for expressions (or a build without it). */
  columnDeclaredType(column: number): string | undefined;
  /** Names and declared types as the statement has them now: the same object while it was not compiled again. */
  readonly shape: RowShape;
  /** Steps and appends rows to a message, as RowSource says. */
  packRows(shape: RowShape, onRow: boolean, limitBytes: number, to: Writer): PackedRows;
  columnType(column: number): StorageClass;
  columnInteger(column: number): bigint;
  columnFloat(column: number): number;
  /** Text or blob: a view of the engine's memory, valid until the next call on this engine. */
  columnBytes(column: number): Uint8Array;
}
