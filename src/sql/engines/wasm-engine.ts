import { assert } from '../../base/assert.ts';
import type { Database } from '../../vfs/database.ts';
import type { PageStore } from '../../vfs/page-store.ts';
import type { SqliteConnection } from '../connection.ts';
import type { Connection, ConnectionUse, Engine } from '../engine.ts';
import type { SqliteBuild } from './build.ts';
import { SqliteCore } from './core.ts';
import type { EngineHost } from './host.ts';
import { defaultEngineLimits, type EngineLimits } from './limits.ts';

/** What an engine is made of. */
export interface EngineParts {
  readonly store: PageStore;
  readonly host: EngineHost;
  readonly limits?: Partial<EngineLimits>;
}

// https://www.sqlite.org/c3ref/c_limit_attached.html and c_dbconfig_defensive.html
const limitId = { length: 0, sqlLength: 1 } as const;
const option = { doubleQuotedStringsInDml: 1013, doubleQuotedStringsInDdl: 1014 } as const;

/** The `Engine` port on one WASM build of SQLite. */
export class WasmEngine implements Engine {
  readonly build: string;
  readonly #core: SqliteCore;
  readonly #store: PageStore;
  readonly #limits: EngineLimits;
  readonly #settings: Readonly<Record<ConnectionUse, string>>;

  constructor(build: SqliteBuild, { store, host, limits }: EngineParts) {
    this.build = build.name;
    this.#store = store;
    this.#limits = { ...defaultEngineLimits, ...limits };
    this.#core = new SqliteCore(build, host, this.#limits.temporaryBytes);
    const { cachePages, readerCachePages } = this.#limits;
    this.#settings = {
      session: settingsFor(build, cachePages),
      // What a client's query can make a reader do is to read.
      reader: `${settingsFor(build, readerCachePages)};PRAGMA query_only=ON`,
    };
  }

  get broken(): boolean {
    return this.#core.broken;
  }

  get memoryBytes(): number {
    return this.#core.build.memory.sizeBytes;
  }

  /** Rows are read from the instance's memory, not value by value. Known from the first connection on. */
  get readsRowsFromMemory(): boolean {
    return this.#core.packer !== undefined;
  }

  connect(database: Database, use: ConnectionUse = 'session'): Connection {
    assert(database.store === this.#store, 'the database is one of this engine');
    const connection = this.#core.open(database);
    try {
      this.#setUp(connection, use);
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  discard(): void {
    this.#core.discard();
  }

  #setUp(connection: SqliteConnection, use: ConnectionUse): void {
    const { build } = this.#core;
    const { pointer } = connection;
    build.api.sqlite3_extended_result_codes(pointer, 1);
    build.api.sqlite3_limit(pointer, limitId.length, this.#limits.valueBytes);
    build.api.sqlite3_limit(pointer, limitId.sqlLength, this.#limits.statementBytes);
    // Both builds refuse "text" in double quotes; the SQLite of Linux distributions takes it.
    build.configure(pointer, option.doubleQuotedStringsInDml, 1);
    build.configure(pointer, option.doubleQuotedStringsInDdl, 1);
    this.#core.execute(pointer, this.#settings[use]);
    this.#core.probeValues(connection);
    this.#core.admitClients(connection);
    connection.takeDependency();
  }
}

/**
 * The journal holds what a rollback needs. With batch-atomic writes it is in memory until the first spill, and
 * then a temporary file outside the WASM memory; that takes a synchronous mode other than OFF, where syncing
 * costs nothing. Without, it stays in the WASM memory.
 */
function settingsFor(build: SqliteBuild, cachePages: number): string {
  const journal = build.batchAtomic
    ? 'PRAGMA journal_mode=TRUNCATE;PRAGMA synchronous=NORMAL'
    : 'PRAGMA journal_mode=MEMORY;PRAGMA synchronous=OFF';
  return [
    'PRAGMA page_size=4096',
    journal,
    'PRAGMA temp_store=FILE',
    `PRAGMA cache_size=${cachePages}`,
    'PRAGMA foreign_keys=ON',
    // The page cache was made before its size was known: 88 KB, which a connection that only waits does not need.
    'PRAGMA shrink_memory',
  ].join(';');
}
