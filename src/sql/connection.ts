import { DqliteError } from '../base/errors.ts';
import type { Database, SpeculativeTransaction } from '../vfs/database.ts';
import type { MainFile } from '../vfs/main-file.ts';
import { resultCode } from '../vfs/sqlite-codes.ts';
import { outOfMemory, tooDeep } from './connection-errors.ts';
import { PresentedPragmas } from './connection-pragmas.ts';
import { ConstantStatement, SqliteStatement } from './connection-statement.ts';
import { ConnectionUses } from './connection-uses.ts';
import type { Connection, Prepared } from './engine.ts';
import type { SqliteCore } from './engines/core.ts';
import { nestsTooDeep } from './statement-nesting.ts';

/** Virtual machine steps between two questions whether to stop: about 20 µs. */
const stepsPerProgress = 1000;

/** One `sqlite3 *` over one replicated database. */
export class SqliteConnection implements Connection {
  readonly core: SqliteCore;
  readonly file: MainFile;
  /** The `sqlite3 *`. */
  readonly pointer: number;
  readonly pragmas = new PresentedPragmas();
  /** What is compiled here has to do with this connection. */
  readonly uses = new ConnectionUses();
  readonly statements = new Set<SqliteStatement>();
  shouldStop: (() => boolean) | undefined;
  #schemaEpoch: number;
  /** Of the head when the schema here was certainly as new. */
  #schemaCookie: number;
  #closed = false;

  constructor(core: SqliteCore, file: MainFile, pointer: number) {
    this.core = core;
    this.file = file;
    this.pointer = pointer;
    this.#schemaEpoch = file.database.schemaEpoch;
    this.#schemaCookie = file.database.schemaCookie;
  }

  get database(): Database {
    return this.file.database;
  }

  get autocommit(): boolean {
    return this.core.build.api.sqlite3_get_autocommit(this.pointer) !== 0;
  }

  get idle(): boolean {
    return this.file.idle;
  }

  get customized(): boolean {
    return this.uses.customized;
  }

  get writing(): boolean {
    return this.file.writing;
  }

  prepare(sql: Uint8Array, offset = 0): Prepared {
    const { core, file } = this;
    // The first call for a text looks at all of it.
    if (offset === 0 && nestsTooDeep(sql)) throw tooDeep();
    this.refreshSchema();
    // What is compiled will mostly run on the head: its schema is the one that counts.
    if (file.idle) file.startsOnHead = true;
    const start = core.text.place(sql, offset);
    if (start === 0) throw outOfMemory();
    this.pragmas.answered = undefined;
    this.uses.begin();
    const length = sql.length - offset;
    const pointer = core.prepare(this.pointer, start, length + 1);
    if (pointer < 0) throw this.failure();
    const tail = offset + core.tail - start;
    if (pointer === 0) return { statement: undefined, tail };
    const constant = this.#presented(pointer);
    return { statement: constant ?? new SqliteStatement(this, pointer), tail };
  }

  catchUp(): void {
    const { schemaCookie } = this.database;
    if (schemaCookie === this.#schemaCookie || !this.file.idle) return;
    this.#schemaCookie = schemaCookie;
    this.#forgetSchema();
  }

  lastInsertRowid(): bigint {
    return this.core.build.lastInsertRowid(this.pointer);
  }

  changes(): bigint {
    return this.core.build.changes(this.pointer);
  }

  takeCaptured(): SpeculativeTransaction | undefined {
    return this.file.captured.shift();
  }

  takeDependency(): number {
    const version = this.file.newestRead;
    this.file.newestRead = 0;
    return version;
  }

  onProgress(shouldStop: (() => boolean) | undefined): void {
    const hadHandler = this.shouldStop !== undefined;
    this.shouldStop = shouldStop;
    const hasHandler = shouldStop !== undefined;
    if (hadHandler !== hasHandler) this.core.watchProgress(this, hasHandler ? stepsPerProgress : 0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.core.close(this);
  }

  /**
   * Forgets the schema when one that was visible here went away. SQLite would notice only if the schema cookie
   * had changed, which a dropped and a committed transaction can both have set to the same number.
   */
  refreshSchema(): void {
    const { schemaEpoch } = this.database;
    if (schemaEpoch === this.#schemaEpoch || !this.file.idle) return;
    this.#schemaEpoch = schemaEpoch;
    this.#forgetSchema();
  }

  #forgetSchema(): void {
    const { customized } = this.uses;
    this.core.forgetSchema(this);
    // That was a pragma, but not a client's.
    this.uses.customized = customized;
  }

  /** The failure that SQLite reports for the last call. */
  failure(): DqliteError {
    const code = this.core.build.api.sqlite3_extended_errcode(this.pointer);
    if (code === resultCode.notLeader) return DqliteError.of('notLeader');
    if (code === resultCode.leadershipLost) return DqliteError.of('leadershipLost');
    return DqliteError.fromSqlite(code, this.core.errorMessage(this.pointer));
  }

  /** A constant in place of a compiled pragma that is presented differently. */
  #presented(pointer: number): ConstantStatement | undefined {
    const { answered } = this.pragmas;
    // EXPLAIN of such a pragma has more columns.
    if (answered === undefined || this.core.build.api.sqlite3_column_count(pointer) > 1) {
      return undefined;
    }
    this.core.finalize(pointer);
    return new ConstantStatement(answered.row);
  }
}
