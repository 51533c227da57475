import type { Statement } from '../sql/engine.ts';

/** First words of what is kept. Anything else is rare, or one of our own pragmas, which are answered differently. */
const keptWords: ReadonlySet<string> = new Set(
  'select insert update delete replace with values begin commit end rollback'.split(' '),
);

/** Which statements may be kept compiled, and how many. */
export interface StatementCacheLimits {
  /** A longer text is compiled each time: it is unlikely to come again, and expensive to compare. */
  readonly maxTextBytes: number;
  readonly perSession: number;
  /** By all sessions together. */
  readonly total: number;
}

/** The caches of all sessions: together they keep no more than the engine has memory for. */
export class StatementCaches {
  readonly limits: StatementCacheLimits;
  /** Those that keep something; each gives up one in turn when there are too many. */
  readonly #caches = new Set<StatementCache>();
  #count = 0;

  constructor(limits: StatementCacheLimits) {
    this.limits = limits;
  }

  /** Statements that are kept. */
  get count(): number {
    return this.#count;
  }

  /** For a cache: it keeps more or less than before. */
  changed(cache: StatementCache, by: number): void {
    this.#count += by;
    if (cache.size === 0) this.#caches.delete(cache);
    else this.#caches.add(cache);
    if (this.#count > this.limits.total) this.#dropOne();
  }

  #dropOne(): void {
    for (let left = this.#caches.size; left > 0; left--) {
      const [cache] = this.#caches;
      if (cache === undefined) return;
      // To the end of the queue, so that the next time another one gives.
      this.#caches.delete(cache);
      this.#caches.add(cache);
      if (cache.dropOldest()) return;
    }
  }
}

/**
 * What one session runs by its text, kept compiled between requests: most clients send the same few texts again and
 * again, and compiling one costs more than running it. A statement kept here behaves as one that the client has
 * prepared: SQLite compiles it anew by itself when anything that it was compiled against has changed.
 */
export class StatementCache {
  readonly #caches: StatementCaches;
  readonly #limit: number;
  /** By text; the one that was not used for the longest time comes first. */
  readonly #statements = new Map<string, Statement>();
  /** The one that comes last. */
  #newest: Statement | undefined;
  /** The one that the present request uses. */
  #lent: Statement | undefined;
  #closed = false;

  /** `limit`: statements that it keeps. */
  constructor(caches: StatementCaches, limit = caches.limits.perSession) {
    this.#caches = caches;
    this.#limit = limit;
  }

  /** Statements that are kept. */
  get size(): number {
    return this.#statements.size;
  }

  /** The statement that is all of this text, ready to run, if it is kept. The caller gives it back with `giveBack`. */
  take(text: string): Statement | undefined {
    const statements = this.#statements;
    const statement = statements.get(text);
    if (statement === undefined) return undefined;
    if (statement !== this.#newest) {
      statements.delete(text);
      statements.set(text, statement);
      this.#newest = statement;
    }
    this.#lent = statement;
    return statement;
  }

  /**
   * Takes a statement that is all of this text and ready to run: keeps it for the next request, or frees it, as it does
   * when there is no text.
   */
  giveBack(text: string | undefined, statement: Statement): void {
    if (statement === this.#lent) {
      this.#lent = undefined;
      return;
    }
    if (this.#closed || this.#limit === 0 || text === undefined || !isWorthKeeping(text)) {
      statement.finalize();
      return;
    }
    this.#statements.set(text, statement);
    this.#newest = statement;
    if (this.#statements.size > this.#limit) this.dropOldest();
    this.#caches.changed(this, 1);
  }

  /** Frees the statement that was not used for the longest time. False: there is none. */
  dropOldest(): boolean {
    for (const [text, statement] of this.#statements) {
      if (statement === this.#lent) continue;
      this.#statements.delete(text);
      this.#caches.changed(this, -1);
      statement.finalize();
      return true;
    }
    return false;
  }

  /** Forgets all without freeing it: that is done with the connection. */
  close(): void {
    this.#closed = true;
    const { size } = this.#statements;
    this.#statements.clear();
    this.#newest = undefined;
    if (size > 0) this.#caches.changed(this, -size);
  }
}

/** The text by which a statement may be kept: one character for each byte. Undefined: it is too long for that. */
export function keyOf(sql: Uint8Array, maxTextBytes: number): string | undefined {
  if (sql.length > maxTextBytes) return undefined;
  return Buffer.from(sql.buffer, sql.byteOffset, sql.length).toString('latin1');
}

function isWorthKeeping(text: string): boolean {
  const [word] = /^\s*[a-z]+/i.exec(text) ?? [''];
  return keptWords.has(word.trim().toLowerCase());
}
