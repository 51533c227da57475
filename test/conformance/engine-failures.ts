import type { Test } from 'tap';
import type { SqliteConnection } from '../../src/sql/connection.ts';
import type { Engine } from '../../src/sql/engine.ts';
import { EngineBroken } from '../../src/sql/engine.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import {
  Bench,
  codeOf,
  type EngineMaker,
  failureOf,
  fill,
  imageOf,
  TestConnection,
} from './engine-bench.ts';

/** Makes an engine with small limits. */
export type LimitedEngineMaker = (
  store: PageStore,
  limits: { statementBytes?: number; valueBytes?: number; temporaryBytes?: number },
) => Engine;

/** Interrupts, limits, exhaustion and traps: what a client may cause without harm to others. */
export function failureConformance(t: Test, make: EngineMaker, limited: LimitedEngineMaker): void {
  t.test(
    'a statement that should stop ends with 9, and a write in BEGIN takes the transaction along',
    (t) => {
      const bench = new Bench(make);
      const [a, b] = bench.connectAll(2) as [TestConnection, TestConnection];
      const endless = 'WITH RECURSIVE q(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM q) ';
      let questions = 0;
      a.inner.onProgress(() => ++questions >= 3);
      t.same(
        failureOf(() => a.run(`${endless} SELECT count(*) FROM q`)),
        [9, 'interrupted'],
      );
      questions = 0;
      t.equal(
        codeOf(() => a.run(`${endless} INSERT INTO t SELECT i, 'x' FROM q WHERE i > 1`)),
        9,
      );
      questions = 0;
      a.run("BEGIN; INSERT INTO t(b) VALUES('x')");
      t.equal(
        codeOf(() => a.run(`${endless} INSERT INTO t SELECT i + 100, 'x' FROM q`)),
        9,
      );
      t.ok(a.inner.autocommit, 'rolled back as a whole, as SQLite does');
      a.inner.onProgress(undefined);
      a.run("INSERT INTO t(b) VALUES('y')");
      bench.commitAll();
      t.same([a.count(), b.count()], [2, 2]);
      t.ok(bench.tidy);
      t.end();
    },
  );

  t.test('a transaction beyond the limit of pages is 13 and leaves nothing behind', (t) => {
    const store = new PageStore({ transactionPages: 50 });
    store.leading = true;
    const database = store.create('db');
    const connection = new TestConnection(make(store).connect(database));
    connection.run('CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)');
    database.commitOldest();
    const before = store.livePages;
    t.equal(
      codeOf(() => connection.run(fill(1, 1000, 1000))),
      13,
    );
    t.equal(
      codeOf(() => connection.run(`BEGIN; ${fill(1, 1000, 1000)}; COMMIT`)),
      13,
    );
    codeOf(() => connection.run('ROLLBACK'));
    t.same([store.livePages, database.writing, database.speculativeCount], [before, false, 0]);
    t.equal(connection.count(), 0);
    connection.run(fill(1, 100, 1000));
    database.commitOldest();
    t.equal(connection.count(), 100);
    t.equal(connection.value('PRAGMA integrity_check'), 'ok');
    t.end();
  });

  t.test('temporary tables beyond the limit are 13, and their space comes back', (t) => {
    const store = new PageStore();
    store.leading = true;
    const engine = limited(store, { temporaryBytes: 2 * 1024 * 1024 });
    const database = store.create('db');
    const connection = new TestConnection(engine.connect(database));
    connection.run('CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT)');
    t.equal(
      codeOf(() => connection.run(fill(1, 10_000, 1000))),
      13,
    );
    connection.close();
    const next = new TestConnection(engine.connect(database));
    next.run('CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT)');
    next.run(fill(1, 1000, 1000));
    t.equal(next.count(), 1000);
    t.end();
  });

  t.test('statements and values beyond their limits are 18', (t) => {
    const store = new PageStore();
    const engine = limited(store, { statementBytes: 1000, valueBytes: 5000 });
    const connection = new TestConnection(engine.connect(store.create('db')));
    t.equal(
      codeOf(() => connection.run(`SELECT '${'x'.repeat(2000)}'`)),
      18,
    );
    t.equal(
      codeOf(() => connection.run('SELECT hex(zeroblob(4000))')),
      18,
    );
    t.equal(
      codeOf(() => connection.run('SELECT ?', [Buffer.alloc(6000)])),
      18,
    );
    t.end();
  });

  t.test('exhausted memory is 7 for that statement and harms nobody else', (t) => {
    const bench = new Bench(make);
    const [a, b] = bench.connectAll(2) as [TestConnection, TestConnection];
    const { memory } = (a.inner as SqliteConnection).core.build;
    memory.grow = () => false;
    const hungry = () =>
      a.run(
        'SELECT group_concat(hex(zeroblob(1000000))) FROM t, json_each(json_array(1,2,3,4,5,6,7,8,9))',
      );
    t.same(failureOf(hungry), [7, 'out of memory']);
    t.same(
      failureOf(() => a.run('SELECT ?', [Buffer.alloc(30_000_000)])),
      [7, 'out of memory'],
    );
    a.run(fill(2, 20_000, 1000));
    bench.commitAll();
    // The journal holds every page as it was: in this memory, or in a temporary file.
    const everyPage = codeOf(() => a.run("UPDATE t SET b = b || 'x'"));
    t.ok(everyPage === 7 || everyPage === 0);
    t.notOk(bench.engine.broken);
    a.run("INSERT INTO t(b) VALUES('x')");
    bench.commitAll();
    t.same([a.count(), b.count()], [20_001, 20_001]);
    t.equal(b.value('PRAGMA integrity_check'), 'ok');
    t.end();
  });

  t.test(
    'rule 11: after an exception in the middle of an UPDATE a new engine goes on over the same pages',
    (t) => {
      const bench = new Bench(make);
      const [a, b] = bench.connectAll(2) as [TestConnection, TestConnection];
      a.run(fill(2, 3000, 1000));
      bench.commitAll();
      b.run("INSERT INTO t(b) VALUES('captured before')");
      b.run('BEGIN; SELECT * FROM t');
      const { vfs } = (a.inner as SqliteConnection).core;
      vfs.write = () => {
        throw new Error('injected');
      };
      t.throws(() => a.run("UPDATE t SET b = b || 'changed'"), EngineBroken);
      t.ok(bench.engine.broken);
      t.ok(bench.database.writing, 'the dead engine still holds the lock');
      t.throws(() => b.run('COMMIT'), EngineBroken);
      t.throws(() => bench.connect(), EngineBroken);

      bench.engine.discard();
      t.ok(b.inner.takeCaptured(), 'what was captured can still be proposed');
      a.close();
      b.close();
      t.notOk(bench.database.writing);
      t.equal(bench.database.pinCount, 0);
      const next = new TestConnection(make(bench.store).connect(bench.database));
      t.equal(next.count(), 3000);
      bench.commitAll();
      t.equal(next.count(), 3001, 'what was captured is still committed');
      next.run("UPDATE t SET b = 'new' WHERE a = 1");
      bench.commitAll();
      t.equal(next.value('PRAGMA integrity_check'), 'ok');
      t.ok(bench.tidy);
      t.end();
    },
  );

  t.test('rule 12: memory that grows in the middle of a statement moves nothing', (t) => {
    const bench = new Bench(make);
    const [a, b] = bench.connectAll(2) as [TestConnection, TestConnection];
    const before = bench.engine.memoryBytes;
    const cursor = b.prepare('SELECT a, b FROM t');
    a.run("INSERT INTO t SELECT 2, hex(zeroblob(30000000)); UPDATE t SET b = 'two' WHERE a = 2");
    t.ok(bench.engine.memoryBytes - before >= 16 * 1024 * 1024, 'in a big step');
    bench.commitAll();
    t.ok(cursor.step());
    t.equal(Buffer.from(cursor.columnBytes(1)).toString(), 'one');
    t.ok(cursor.step());
    t.equal(Buffer.from(cursor.columnBytes(1)).toString(), 'two');
    cursor.finalize();
    t.equal(imageOf(bench.database).readUInt32BE(28), bench.database.committedPageCount);
    t.end();
  });

  t.test('statements that nest without end are 1, and the engine lives on', (t) => {
    const bench = new Bench(make);
    const [a] = bench.connectAll(1) as [TestConnection];
    const nested = (open: string, middle: string, close: string, count: number) =>
      `SELECT ${open.repeat(count)}${middle}${close.repeat(count)}`;
    const codes = [
      nested('* FROM (SELECT ', '1', ')', 50_000),
      nested('(SELECT ', '1', ')', 50_000),
      nested('(', '1', ')', 100_000),
      nested('abs(', '1', ')', 100_000),
      nested('CASE WHEN 1 THEN ', '1', ' END', 20_000),
      nested('NOT ', '1', '', 100_000),
      nested("/* ' */ (", '1', ')', 5000),
    ].map((sql) => codeOf(() => a.run(sql)));
    t.same(codes, Array(7).fill(1));
    t.equal(a.value(`SELECT length('${'('.repeat(5000)}')`), 5000n, 'text is not nesting');
    t.equal(a.value(`SELECT 1 -- ${'('.repeat(5000)}`), 1n, 'nor is a comment');
    t.equal(a.value(nested('(', '1', ')', 50)), 1n);
    t.notOk(bench.engine.broken);
    t.end();
  });

  t.test('closing a connection frees its statements, and closing it again is nothing', (t) => {
    const bench = new Bench(make);
    const [a] = bench.connectAll(1) as [TestConnection];
    const cursor = a.prepare('SELECT * FROM t');
    cursor.step();
    a.run('BEGIN');
    a.close();
    a.close();
    cursor.finalize();
    t.equal(bench.database.pinCount, 0);
    t.end();
  });
}
