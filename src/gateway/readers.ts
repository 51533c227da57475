import { DqliteError } from '../base/errors.ts';
import type { Connection, Engine, Statement } from '../sql/engine.ts';
import type { Database } from '../vfs/database.ts';
import { StatementCache, type StatementCaches } from './statement-cache.ts';

/** The session for which a reader runs a statement. */
export interface ReaderUser {
  readonly engine: Engine;
  /** Asked while the statement runs: true ends it. */
  mustStop(): boolean;
  /** Something of this version was read: the answer may leave once it is committed. */
  dependOn(version: number): void;
}

/** How many readers there may be, and of which texts. */
export interface ReaderLimits {
  /** Of one database; 0: none. */
  readonly perDatabase: number;
  /** Of all databases together. */
  readonly total: number;
  /** Statements that each keeps compiled. */
  readonly statements: number;
}

/** What the readers of all databases share. */
export class ReaderBudget {
  readonly limits: ReaderLimits;
  readonly caches: StatementCaches;
  /** Readers that are open. */
  open = 0;

  constructor(limits: ReaderLimits, caches: StatementCaches) {
    this.limits = limits;
    this.caches = caches;
  }

  /** Another one may be opened. */
  get hasRoom(): boolean {
    return this.open < this.limits.total;
  }
}

/** Statements that may be plain reads; whether they are, the compiler says. */
const plainRead = /^\s*(?:select|with|values)\b/i;

/** So often a text that did not end at once runs elsewhere before it is given a reader again. */
const awayFor = 100;

/** Texts that are known to run elsewhere. When there are more, all are forgotten, and found out again. */
const maxKnownTexts = 256;

/** The text may run on a reader, as far as its first word tells. */
export function mayBePlainRead(text: string): boolean {
  return plainRead.test(text);
}

/** A connection that belongs to no session, while one has it. */
export class Reader {
  readonly connection: Connection;
  readonly texts: StatementCache;
  /** The readers of its time: others have taken their place when the number has changed. */
  readonly generation: number;
  /** Its engine is gone: nothing of it is called any more. */
  gone = false;
  user: ReaderUser | undefined;
  text = '';
  statement: Statement | undefined;
  /** The statement has paused, for others to have their turn: such a text had better not hold a reader. */
  paused = false;

  constructor(connection: Connection, texts: StatementCache, generation: number) {
    this.connection = connection;
    this.texts = texts;
    this.generation = generation;
    connection.onProgress(() => this.user?.mustStop() === true);
  }

  /**
   * The first step of a statement: as `Statement.step`. Undefined: it was compiled again, and now has to run on its
   * session's own connection. @throws DqliteError
   */
  begin(statement: Statement): boolean | undefined {
    let more: boolean;
    try {
      more = statement.step();
    } catch (error) {
      if (statement.connectionBound && error instanceof DqliteError) return undefined;
      throw error;
    } finally {
      this.user?.dependOn(this.connection.takeDependency());
    }
    return statement.connectionBound ? undefined : more;
  }
}

/**
 * The connections on which plain reads of all sessions of a database run. One page cache and one compiled statement for
 * each text serve all of them, where each session's own would be cold. A reader has one user at a time, and between two
 * nothing runs on it: the next one begins on what is committed then. Nearly all reads end before another begins, so
 * that one reader does the work; a read that takes longer keeps its own, and when there are no more, reads run on the
 * connections of their sessions.
 */
export class Readers {
  readonly #database: Database;
  readonly #budget: ReaderBudget;
  /** Those that nobody has: the last one was used last, and takes the next read. */
  #idle: Reader[] = [];
  readonly #open = new Set<Reader>();
  #sessions = 0;
  #generation = 0;
  /** Texts that run on the connections of their sessions, with how often before that is looked at anew. */
  readonly #away = new Map<string, number>();
  /** When this version is committed, queries are planned by new statistics, which connections do not notice. */
  #renewAt = Number.POSITIVE_INFINITY;

  constructor(database: Database, budget: ReaderBudget) {
    this.#database = database;
    this.#budget = budget;
  }

  /** Readers that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** A session has opened the database. */
  join(): void {
    this.#sessions++;
  }

  /** One that had opened it has done with it. With the last one the readers go. */
  leave(): void {
    this.#sessions--;
    if (this.#sessions === 0) this.#renew();
  }

  /** The engine is gone, and every reader with it. */
  abandon(): void {
    for (const reader of this.#open) {
      reader.gone = true;
      reader.texts.close();
    }
    this.#budget.open -= this.#open.size;
    this.#open.clear();
    this.#idle = [];
  }

  /** Once this version is committed, new readers take the place of those that there are. */
  renewAt(version: number): void {
    this.#renewAt = version;
  }

  /**
   * A reader for `user`, with the statement that is all of this text ready to run: give it back when that has ended.
   * Undefined: it is none for a reader, or there is no reader left for it.
   * @throws DqliteError SQLite's, when the text cannot be compiled
   */
  take(user: ReaderUser, text: string): Reader | undefined {
    if (this.#database.committedVersion >= this.#renewAt) this.#renew();
    if (this.#away.size > 0 && this.#runsElsewhere(text)) return undefined;
    const idle = this.#idle.pop();
    const known = idle?.texts.take(text);
    if (idle !== undefined && known !== undefined) return lend(idle, user, text, known);
    if (!mayBePlainRead(text)) {
      if (idle !== undefined) this.#idle.push(idle);
      return undefined;
    }
    const reader = idle ?? this.#openReader(user.engine);
    return reader && this.#compiled(reader, user, text);
  }

  /** The statement has ended, however it did. */
  giveBack(reader: Reader): void {
    const { statement, text, paused } = reader;
    reader.user = undefined;
    reader.statement = undefined;
    reader.paused = false;
    if (reader.gone) return;
    // Throws when the engine is broken: then the reader is left to `abandon`.
    if (statement !== undefined) this.#putBack(reader, text, statement, paused);
    // A snapshot that it still held would be the next one's, too.
    const usable = reader.connection.idle && reader.generation === this.#generation;
    if (usable) this.#idle.push(reader);
    else this.#close(reader);
  }

  #putBack({ texts }: Reader, text: string, statement: Statement, paused: boolean): void {
    statement.reset();
    if (statement.parameterCount > 0) statement.clearBindings();
    if (statement.connectionBound) this.#sendAway(text, Number.POSITIVE_INFINITY);
    else if (paused) this.#sendAway(text, awayFor);
    texts.giveBack(text, statement);
  }

  /** The reader with a newly compiled statement; undefined, and the reader is given back, when it is none for it. */
  #compiled(reader: Reader, user: ReaderUser, text: string): Reader | undefined {
    const { connection } = reader;
    const sql = Buffer.from(text, 'latin1');
    let statement: Statement | undefined;
    try {
      const prepared = connection.prepare(sql);
      // As in OpenDatabase.prepare: what was found binds no answer.
      connection.takeDependency();
      if (isAllOf(sql, prepared.tail)) statement = prepared.statement;
      else prepared.statement?.finalize();
    } catch (error) {
      user.dependOn(connection.takeDependency());
      this.giveBack(reader);
      throw error;
    }
    if (statement !== undefined && isPlainRead(statement)) {
      return lend(reader, user, text, statement);
    }
    statement?.finalize();
    this.giveBack(reader);
    this.#sendAway(text, Number.POSITIVE_INFINITY);
    return undefined;
  }

  #runsElsewhere(text: string): boolean {
    const times = this.#away.get(text);
    if (times === undefined) return false;
    if (times === 1) this.#away.delete(text);
    else this.#away.set(text, times - 1);
    return true;
  }

  #sendAway(text: string, times: number): void {
    if (this.#away.size >= maxKnownTexts) this.#away.clear();
    this.#away.set(text, times);
  }

  /** Undefined: there are enough, or the engine has no room for another. */
  #openReader(engine: Engine): Reader | undefined {
    const { limits, caches, hasRoom } = this.#budget;
    if (!hasRoom || this.#open.size >= limits.perDatabase) return undefined;
    let connection: Connection;
    try {
      connection = engine.connect(this.#database, 'reader');
    } catch (error) {
      if (error instanceof DqliteError) return undefined;
      throw error;
    }
    const texts = new StatementCache(caches, limits.statements);
    const reader = new Reader(connection, texts, this.#generation);
    this.#open.add(reader);
    this.#budget.open++;
    return reader;
  }

  /** Closes what nobody has. What somebody has is closed when it is given back. */
  #renew(): void {
    this.#renewAt = Number.POSITIVE_INFINITY;
    this.#generation++;
    this.#away.clear();
    const idle = this.#idle;
    this.#idle = [];
    for (const reader of idle) this.#close(reader);
  }

  #close(reader: Reader): void {
    this.#open.delete(reader);
    this.#budget.open--;
    reader.texts.close();
    reader.connection.close();
  }
}

function lend(reader: Reader, user: ReaderUser, text: string, statement: Statement): Reader {
  reader.user = user;
  reader.text = text;
  reader.statement = statement;
  return reader;
}

/** The statement answers with rows of the database and nothing else. */
export function isPlainRead(statement: Statement): boolean {
  return statement.readOnly && !statement.connectionBound && statement.columnCount > 0;
}

/** Nothing but blanks comes from `tail` on. */
function isAllOf(sql: Uint8Array, tail: number): boolean {
  for (let at = tail; at < sql.length; at++) if (!isBlank(sql[at])) return false;
  return true;
}

/** What SQLite's tokenizer skips. */
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d && byte !== 0x0b);
}
