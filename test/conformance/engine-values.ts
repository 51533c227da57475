import type { Test } from 'tap';
import {
  Bench,
  bindAll,
  type EngineMaker,
  failureOf,
  rowOf,
  type TestValue,
} from './engine-bench.ts';

/** Parameters, columns and the edges of statements: what the wire protocol hands through. */
export function valueConformance(t: Test, make: EngineMaker, declaresTypes: boolean): void {
  const setUp = () => {
    const bench = new Bench(make);
    return { bench, connection: bench.connect() };
  };

  t.test('values come back as they were bound', (t) => {
    const { connection } = setUp();
    const values: TestValue[] = [
      0n,
      -1n,
      4_294_967_296n,
      9_223_372_036_854_775_807n,
      -9_223_372_036_854_775_808n,
      1.5,
      -0.25,
      Number.MAX_VALUE,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      '',
      'naïve ☃ 🦆',
      'nul \0 inside',
      'long '.repeat(40_000),
      Buffer.alloc(0),
      Buffer.from([0, 255, 0, 1]),
      Buffer.alloc(200_000, 7),
      null,
    ];
    const wrong = values.filter((value) => {
      const [row] = connection.run('SELECT ?', [value]);
      const [back] = row ?? [];
      if (Buffer.isBuffer(value)) return !Buffer.isBuffer(back) || !value.equals(back);
      return back !== value;
    });
    t.same(wrong, []);
    t.equal(connection.value('SELECT ?', [Number.NaN]), null, 'NaN is NULL');
    t.end();
  });

  t.test('bytes that are not UTF-8 come back as they were bound', (t) => {
    const { connection } = setUp();
    const statement = connection.prepare('SELECT ?');
    const bytes = Buffer.from([0xff, 0xfe, 0x41, 0xc3]);
    statement.bindText(1, bytes);
    t.ok(statement.step());
    t.equal(statement.columnType(0), 3);
    t.same(Buffer.from(statement.columnBytes(0)), bytes);
    statement.finalize();
    t.end();
  });

  t.test('an empty blob is a blob and not NULL', (t) => {
    const { connection } = setUp();
    t.same(connection.run('SELECT typeof(?1), ?1 IS NULL', [Buffer.alloc(0)]), [['blob', 0n]]);
    t.end();
  });

  t.test(
    'parameters are counted by their highest number and keep their values over a reset',
    (t) => {
      const { connection } = setUp();
      const counts = [
        'SELECT 1',
        'SELECT ?, ?',
        'SELECT ?5',
        'SELECT :a, :b, :a',
        'SELECT ?32766',
      ].map((sql) => connection.prepare(sql).parameterCount);
      t.same(counts, [0, 2, 5, 2, 32_766]);
      const statement = connection.prepare('SELECT ?1, ?2');
      bindAll(statement, [1n, 'x']);
      t.ok(statement.step());
      statement.reset();
      t.ok(statement.step());
      t.same(rowOf(statement), [1n, 'x']);
      statement.reset();
      statement.clearBindings();
      t.ok(statement.step());
      t.same(rowOf(statement), [null, null]);
      statement.finalize();
      statement.finalize();
      t.end();
    },
  );

  t.test('300 parameters and columns pass, and one too many is 25', (t) => {
    const { connection } = setUp();
    const list = Array.from({ length: 300 }, () => '?').join(', ');
    const values = Array.from({ length: 300 }, (_, i) => BigInt(i));
    t.same(connection.run(`SELECT ${list}`, values), [values]);
    t.same(
      failureOf(() => connection.run('SELECT ?', [1n, 2n])),
      [25, 'column index out of range'],
    );
    t.end();
  });

  t.test('compiling stops at the end of a statement and says where', (t) => {
    const { connection } = setUp();
    const tails = [
      'SELECT 1; x',
      'SELECT 1',
      ' -- only a comment\n ',
      '',
      ';; SELECT 2;',
      'SELECT 1;  ',
    ].map((sql) => {
      const { statement, tail } = connection.inner.prepare(Buffer.from(sql));
      return [statement !== undefined, tail];
    });
    t.same(tails, [
      [true, 9],
      [true, 8],
      [false, 20],
      [false, 0],
      [true, 12],
      [true, 9],
    ]);
    t.same(connection.run('SELECT 1; SELECT 2;; SELECT 3 -- end'), [[1n], [2n], [3n]]);
    const long = `SELECT '${'x'.repeat(70_000)}'; SELECT 2; SELECT 3`;
    t.equal(connection.run(long).length, 3, 'also beyond the area for short texts');
    t.end();
  });

  t.test('a failure carries the extended code and the text of SQLite', (t) => {
    const { bench, connection } = setUp();
    connection.run('CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE f(p REFERENCES p(id))');
    bench.commitAll();
    connection.run(
      'CREATE TABLE c(n NOT NULL, u UNIQUE, k CHECK(k > 0)); INSERT INTO c VALUES(1, 1, 1)',
    );
    bench.commitAll();
    const failures = [
      'SELEC 1',
      'SELECT',
      'SELECT * FROM nope',
      'INSERT INTO f VALUES(9)',
      'INSERT INTO c VALUES(NULL, 2, 1)',
      'INSERT INTO c VALUES(2, 1, 1)',
      'INSERT INTO c VALUES(3, 3, 0)',
      'COMMIT',
      'ROLLBACK',
      'BEGIN; BEGIN',
    ].map((sql) => failureOf(() => connection.run(sql)));
    t.same(failures, [
      [1, 'near "SELEC": syntax error'],
      [1, 'incomplete input'],
      [1, 'no such table: nope'],
      [787, 'FOREIGN KEY constraint failed'],
      [1299, 'NOT NULL constraint failed: c.n'],
      [2067, 'UNIQUE constraint failed: c.u'],
      [275, 'CHECK constraint failed: k > 0'],
      [1, 'cannot commit - no transaction is active'],
      [1, 'cannot rollback - no transaction is active'],
      [1, 'cannot start a transaction within a transaction'],
    ]);
    t.end();
  });

  t.test('row id and change count are those of SQLite and stay when nothing changes', (t) => {
    const { bench, connection } = setUp();
    const { inner } = connection;
    const both = () => [inner.lastInsertRowid(), inner.changes()];
    t.same(both(), [0n, 0n]);
    connection.run('CREATE TABLE t(a INTEGER PRIMARY KEY, b)');
    connection.run('INSERT INTO t VALUES(-9223372036854775808, 1), (-5, 2)');
    t.same(both(), [-5n, 2n]);
    connection.run('UPDATE t SET b = 3');
    connection.run('CREATE INDEX tb ON t(b); BEGIN; COMMIT; SELECT 1');
    t.same(both(), [-5n, 2n]);
    connection.run('INSERT INTO t(a) VALUES(9223372036854775807)');
    t.same(both(), [9_223_372_036_854_775_807n, 1n]);
    bench.commitAll();
    t.end();
  });

  t.test('column names and declared types are those of the query', (t) => {
    const { bench, connection } = setUp();
    connection.run('CREATE TABLE d(at DATETIME NOT NULL, "is on" BOOLEAN, n, k TIMESTAMP(6))');
    bench.commitAll();
    const statement = connection.prepare(
      'SELECT *, at || 1, count(*), (SELECT at FROM d) AS s FROM d',
    );
    const names = Array.from({ length: statement.columnCount }, (_, i) =>
      Buffer.from(statement.columnName(i)).toString(),
    );
    const types = names.map((_, i) => statement.columnDeclaredType(i));
    t.same(names, ['at', 'is on', 'n', 'k', 'at || 1', 'count(*)', 's']);
    const declared = [
      'DATETIME',
      'BOOLEAN',
      undefined,
      'TIMESTAMP(6)',
      undefined,
      undefined,
      'DATETIME',
    ];
    t.same(types, declaresTypes ? declared : declared.map(() => undefined));
    t.end();
  });

  t.test(
    'a statement is read-only as SQLite says, and without columns when it answers none',
    (t) => {
      const { bench, connection } = setUp();
      connection.run('CREATE TABLE t(a)');
      bench.commitAll();
      const facts = [
        'SELECT 1',
        'BEGIN',
        'BEGIN IMMEDIATE',
        'COMMIT',
        'INSERT INTO t VALUES(1)',
        'INSERT INTO t VALUES(1) RETURNING a',
        'PRAGMA journal_mode',
        'PRAGMA cache_size = 5',
      ].map((sql) => {
        const { readOnly, columnCount } = connection.prepare(sql);
        return [readOnly, columnCount];
      });
      t.same(facts, [
        [true, 1],
        [true, 0],
        [false, 0],
        [true, 0],
        [false, 0],
        [false, 1],
        [true, 1],
        [true, 0],
      ]);
      t.end();
    },
  );

  t.test('a schema change of another connection is noticed by compiled statements', (t) => {
    const { bench, connection } = setUp();
    const other = bench.connect();
    other.run("CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 'one')");
    bench.commitAll();
    const reading = connection.prepare('SELECT * FROM t');
    const writing = connection.prepare('INSERT INTO t(a) VALUES(2)');
    t.ok(reading.step());
    reading.reset();
    other.run('ALTER TABLE t ADD COLUMN c DEFAULT 7');
    t.ok(reading.step());
    t.same(rowOf(reading), [1n, 'one'], 'not before it is committed');
    reading.reset();
    writing.step();
    bench.commitAll();
    t.ok(reading.step());
    t.same(rowOf(reading), [1n, 'one', 7n]);
    reading.reset();
    t.equal(connection.value('SELECT c FROM t WHERE a = 2'), 7n, 'the writer saw the new schema');
    other.run('ALTER TABLE t RENAME COLUMN b TO bb; DROP TABLE t');
    bench.commitAll();
    t.same(
      failureOf(() => reading.step()),
      [1, 'no such table: t'],
    );
    t.end();
  });

  t.test(
    'triggers, cascades, generated columns, full text and tables without row ids go through the store',
    (t) => {
      const { bench, connection } = setUp();
      const reader = bench.connect();
      const script = [
        'CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id) ON DELETE CASCADE)',
        'INSERT INTO p VALUES(1); INSERT INTO c VALUES(1); DELETE FROM p',
        'CREATE TABLE w(a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO w VALUES(1, 2)',
        'CREATE TABLE g(a, b AS (a * 2) STORED); INSERT INTO g(a) VALUES(21)',
        "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('hello world')",
        "INSERT INTO f(f) VALUES('optimize')",
      ];
      for (const sql of script) {
        for (const statement of sql.split('; ')) {
          connection.run(statement);
          bench.commitAll();
        }
      }
      t.equal(reader.count('SELECT count(*) FROM c'), 0);
      t.equal(reader.count('SELECT b FROM g'), 42);
      t.equal(reader.count('SELECT b FROM w'), 2);
      t.equal(reader.count("SELECT count(*) FROM f WHERE f MATCH 'hello'"), 1);
      t.equal(reader.value("SELECT json_extract('{\"a\":[1,2]}', '$.a[1]')"), 2n);
      t.equal(reader.value('PRAGMA integrity_check'), 'ok');
      t.end();
    },
  );
}
