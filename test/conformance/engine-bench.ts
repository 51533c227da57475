import { assert } from '../../src/base/assert.ts';
import { DqliteError } from '../../src/base/errors.ts';
import type { Connection, Engine, Statement } from '../../src/sql/engine.ts';
import { storageClass } from '../../src/sql/engine.ts';
import type { CapturedPage, Database, Image } from '../../src/vfs/database.ts';
import { PageStore } from '../../src/vfs/page-store.ts';

/** What a test binds and reads. Text is a string here, a blob a Buffer. */
export type TestValue = bigint | number | string | Buffer | null;

/** Makes an engine of the build under test. */
export type EngineMaker = (store: PageStore) => Engine;

/** A connection with the few words that tests need. */
export class TestConnection {
  readonly inner: Connection;

  constructor(inner: Connection) {
    this.inner = inner;
  }

  /** Runs every statement of `sql`; parameters go to the first one. Returns all rows. */
  run(sql: string, parameters: readonly TestValue[] = []): TestValue[][] {
    const bytes = Buffer.from(sql);
    const rows: TestValue[][] = [];
    let offset = 0;
    for (;;) {
      const { statement, tail } = this.inner.prepare(bytes, offset);
      if (statement === undefined) return rows;
      try {
        if (offset === 0) bindAll(statement, parameters);
        while (statement.step()) rows.push(rowOf(statement));
      } finally {
        statement.finalize();
      }
      offset = tail;
    }
  }

  /** The only value of the only row. */
  value(sql: string, parameters: readonly TestValue[] = []): TestValue {
    const [row, ...others] = this.run(sql, parameters);
    assert(row !== undefined && row.length === 1 && others.length === 0, 'one value');
    return row[0] ?? null;
  }

  /** The first column, as text. */
  column(sql: string): string {
    return this.run(sql)
      .map(([first]) => String(first))
      .join(' ');
  }

  /** A count, or another small integer. */
  count(sql = 'SELECT count(*) FROM t'): number {
    return Number(this.value(sql));
  }

  prepare(sql: string): Statement {
    const { statement } = this.inner.prepare(Buffer.from(sql));
    assert(statement !== undefined, 'there is a statement');
    return statement;
  }

  close(): void {
    this.inner.close();
  }
}

/** One server's engine, one database `db`, and as many connections as the test asks for. */
export class Bench {
  readonly store = new PageStore();
  readonly database: Database;
  readonly engine: Engine;

  constructor(make: EngineMaker, database?: (store: PageStore) => Database) {
    this.store.leading = true;
    this.database = database?.(this.store) ?? this.store.create('db');
    this.engine = make(this.store);
  }

  connect(database = this.database): TestConnection {
    return new TestConnection(this.engine.connect(database));
  }

  /** `count` connections, and `t(a INTEGER PRIMARY KEY, b TEXT)` with the row (1, 'one') committed. */
  connectAll(count: number): TestConnection[] {
    const connections = Array.from({ length: count }, () => this.connect());
    connections[0]?.run(
      "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES(1, 'one')",
    );
    this.commitAll();
    return connections;
  }

  /** Everything captured becomes committed. Returns it, copied: its pages are recycled. */
  commitAll(): CapturedPage[][] {
    const committed: CapturedPage[][] = [];
    while (this.database.speculativeCount > 0) {
      const { pages } = this.database.commitOldest();
      committed.push(
        pages.map(({ number, content }) => ({ number, content: Buffer.from(content) })),
      );
    }
    return committed;
  }

  /** No page is held that the committed image does not need. */
  get tidy(): boolean {
    const { database } = this;
    return database.pinCount === 0 && database.countPages() <= database.committedPageCount;
  }
}

/** The committed image of a database as a file. */
export function imageOf(database: Database): Buffer {
  const pinned: Image = database.pinCommitted();
  const file = Buffer.alloc(pinned.pageCount * 4096);
  for (let page = 1; page <= pinned.pageCount; page++) {
    pinned.copyPage(page, file, (page - 1) * 4096);
  }
  pinned.release();
  return file;
}

/** The wire code that `run` fails with; 0 when it does not. */
export function codeOf(run: () => unknown): number {
  try {
    run();
    return 0;
  } catch (error) {
    if (error instanceof DqliteError) return error.wire;
    throw error;
  }
}

/** Code and text that `run` fails with. */
export function failureOf(run: () => unknown): readonly [number, string] | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof DqliteError) return [error.wire, error.message];
    throw error;
  }
}

/** An `INSERT` of rows `first` to `last` into `t`, each with `bytes` bytes of text. */
export function fill(first: number, last: number, bytes: number): string {
  return (
    `WITH RECURSIVE q(i) AS (SELECT ${first} UNION ALL SELECT i + 1 FROM q WHERE i < ${last}) ` +
    `INSERT INTO t SELECT i, hex(zeroblob(${bytes / 2})) FROM q`
  );
}

export function bindAll(statement: Statement, values: readonly TestValue[]): void {
  for (const [i, value] of values.entries()) bind(statement, i + 1, value);
}

function bind(statement: Statement, index: number, value: TestValue): void {
  if (value === null) statement.bindNull(index);
  else if (typeof value === 'bigint') statement.bindInteger(index, value);
  else if (typeof value === 'number') statement.bindFloat(index, value);
  else if (typeof value === 'string') statement.bindText(index, Buffer.from(value));
  else statement.bindBlob(index, value);
}

export function rowOf(statement: Statement): TestValue[] {
  return Array.from({ length: statement.columnCount }, (_, i) => columnOf(statement, i));
}

function columnOf(statement: Statement, column: number): TestValue {
  switch (statement.columnType(column)) {
    case storageClass.integer:
      return statement.columnInteger(column);
    case storageClass.float:
      return statement.columnFloat(column);
    case storageClass.text:
      return Buffer.from(statement.columnBytes(column)).toString();
    case storageClass.blob:
      return Buffer.from(statement.columnBytes(column));
    case storageClass.null:
      return null;
  }
}
