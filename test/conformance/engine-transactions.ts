import type { Test } from 'tap';
import { Bench, codeOf, type EngineMaker, fill } from './engine-bench.ts';

/** Snapshots, pipelining, the writer lock, rollback: what one server's connections see of each other. */
export function transactionConformance(t: Test, make: EngineMaker): void {
  const setUp = (count = 4) => {
    const bench = new Bench(make);
    return { bench, database: bench.database, connections: bench.connectAll(count) };
  };

  t.test('rule 1: writers build on the head while readers see what is committed', (t) => {
    const { database, connections } = setUp();
    const [a, b, c, reader] = connections as [C, C, C, C];
    a.run("INSERT INTO t(b) VALUES('s1')");
    b.run("INSERT INTO t(b) SELECT 's2:' || count(*) FROM t");
    c.run("INSERT INTO t(b) SELECT 's3:' || count(*) FROM t");
    t.equal(database.speculativeCount, 3);
    const seen = [reader.count()];
    for (let i = 0; i < 3; i++) {
      database.commitOldest();
      seen.push(reader.count());
    }
    t.same(seen, [1, 2, 3, 4]);
    t.equal(reader.column('SELECT b FROM t ORDER BY a'), 'one s1 s2:2 s3:3');
    t.end();
  });

  t.test('rule 1: a transaction keeps its snapshot while others commit', (t) => {
    const { bench, connections } = setUp();
    const [writer, reader, other] = connections as [C, C, C];
    reader.run('BEGIN');
    t.equal(reader.count(), 1);
    for (let i = 0; i < 5; i++) {
      writer.run('INSERT INTO t(b) VALUES(?)', [`w${i}`]);
      bench.commitAll();
    }
    t.same([reader.count(), other.count()], [1, 6]);
    reader.run('COMMIT');
    t.equal(reader.count(), 6);
    t.end();
  });

  t.test(
    'rule 1: an open cursor keeps its snapshot through DELETE, VACUUM and UPDATE of others',
    (t) => {
      const { bench, connections } = setUp();
      const [filler, reader, writer] = connections as [C, C, C];
      filler.run(fill(2, 2000, 50));
      bench.commitAll();
      const cursor = reader.prepare('SELECT a, b FROM t');
      let rows = 0;
      while (rows < 500 && cursor.step()) rows++;
      for (const sql of ['DELETE FROM t WHERE a > 3', 'VACUUM', "UPDATE t SET b = 'zzz'"]) {
        writer.run(sql);
        bench.commitAll();
      }
      while (cursor.step()) rows++;
      cursor.finalize();
      t.equal(rows, 2000);
      t.equal(reader.count(), 3);
      t.ok(bench.tidy, 'everything the cursor kept is freed');
      t.end();
    },
  );

  t.test(
    'rule 2: a plain read starts on what is committed, an explicit transaction on the head',
    (t) => {
      const { connections } = setUp();
      const [writer, plain, explicit] = connections as [C, C, C];
      writer.run("INSERT INTO t(b) VALUES('speculative')");
      explicit.run('BEGIN');
      t.same([plain.count(), explicit.count()], [1, 2]);
      t.end();
    },
  );

  t.test(
    'rule 2: a read that turns into a write on an old snapshot is 517, and may go on reading',
    (t) => {
      const { bench, connections } = setUp();
      const [writer, late] = connections as [C, C];
      late.run('BEGIN');
      late.count();
      writer.run("INSERT INTO t(b) VALUES('x')");
      t.equal(
        codeOf(() => late.run("INSERT INTO t(b) VALUES('y')")),
        517,
      );
      t.equal(late.count(), 1);
      late.run('ROLLBACK');
      late.run("INSERT INTO t(b) VALUES('y')");
      bench.commitAll();
      t.equal(late.count(), 3);
      t.end();
    },
  );

  t.test('rule 2: while one connection writes, another gets 5, and readers go on', (t) => {
    const { bench, connections } = setUp();
    const [first, second] = connections as [C, C];
    first.run('BEGIN IMMEDIATE');
    t.ok(first.inner.writing);
    t.equal(
      codeOf(() => second.run('BEGIN IMMEDIATE')),
      5,
    );
    t.equal(second.count(), 1);
    first.run("INSERT INTO t(b) VALUES('x'); COMMIT");
    second.run('BEGIN IMMEDIATE; ROLLBACK');
    bench.commitAll();
    t.equal(second.count(), 2);
    t.end();
  });

  t.test('rule 2: a server that does not lead refuses every write with 10250', (t) => {
    const { bench, connections } = setUp();
    const [a] = connections as [C];
    bench.store.leading = false;
    const codes = ["INSERT INTO t(b) VALUES('no')", 'BEGIN IMMEDIATE', 'CREATE TABLE u(x)'].map(
      (sql) => codeOf(() => a.run(sql)),
    );
    t.same(codes, [10250, 10250, 10250]);
    t.equal(a.count(), 1);
    t.end();
  });

  t.test('rule 2: a connection with an open cursor may write more than once', (t) => {
    const { bench, connections } = setUp();
    const [a, reader] = connections as [C, C];
    a.run(fill(2, 3000, 1000));
    bench.commitAll();
    const cursor = a.prepare('SELECT a, length(b) FROM t');
    t.ok(cursor.step());
    a.run("UPDATE t SET b = 'short' WHERE a > 1500");
    a.run("INSERT INTO t VALUES(9000, 'new')");
    let rows = 1;
    while (cursor.step()) rows++;
    cursor.finalize();
    t.equal(rows, 3001, 'its own changes are seen');
    bench.commitAll();
    t.equal(reader.value('PRAGMA integrity_check'), 'ok');
    t.ok(bench.tidy);
    t.end();
  });

  t.test('rule 3: a commit is captured once, and a rollback never', (t) => {
    const { bench, database, connections } = setUp();
    const [a, reader] = connections as [C, C];
    a.run("BEGIN; INSERT INTO t VALUES(10, 'a'); SAVEPOINT s; INSERT INTO t VALUES(11, 'b')");
    a.run("ROLLBACK TO s; INSERT INTO t VALUES(12, 'c')");
    const duplicate = () => a.run("INSERT INTO t VALUES(20, 'p'), (21, 'q'), (12, 'duplicate')");
    t.equal(codeOf(duplicate), 1555);
    t.equal(a.count(), 3, 'the statement is undone, the transaction stays');
    a.run('RELEASE s; COMMIT');
    while (a.inner.takeCaptured() !== undefined);
    t.equal(database.speculativeCount, 1);
    bench.commitAll();
    t.equal(reader.column('SELECT a FROM t'), '1 10 12');
    a.run('BEGIN; DELETE FROM t; ROLLBACK');
    t.equal(
      codeOf(() => a.run("INSERT OR ROLLBACK INTO t VALUES(1, 'duplicate')")),
      1555,
    );
    t.equal(database.speculativeCount, 0);
    t.equal(a.inner.takeCaptured(), undefined);
    t.equal(reader.count(), 3);
    t.end();
  });

  t.test('rule 3: a transaction larger than the cache spills, rolls back and commits', (t) => {
    const { bench, database, connections } = setUp();
    const [a, reader] = connections as [C, C];
    const before = bench.store.livePages;
    a.run('BEGIN');
    a.run(fill(100, 5100, 1000));
    t.ok((database.writer?.changedPages ?? 0) > 500, 'pages reach the store before the commit');
    a.run('SAVEPOINT z; UPDATE t SET b = b || 1; ROLLBACK TO z');
    t.equal(a.count('SELECT count(*) FROM t WHERE length(b) = 1000'), 5001);
    t.equal(reader.count(), 1);
    a.run('ROLLBACK');
    t.equal(bench.store.livePages, before);
    t.equal(a.count(), 1);
    a.run(`BEGIN; ${fill(100, 5100, 1000)}; COMMIT`);
    t.same([database.speculativeCount, reader.count()], [1, 1]);
    bench.commitAll();
    t.equal(reader.count(), 5002);
    t.equal(reader.value('PRAGMA integrity_check'), 'ok');
    t.end();
  });

  t.test('rule 9: versions between two readers are freed while both go on', (t) => {
    const { bench, database, connections } = setUp();
    const [writer, oldReader] = connections as [C, C];
    oldReader.run('BEGIN');
    oldReader.count();
    for (let i = 0; i < 100; i++) {
      writer.run('UPDATE t SET b = ?', [`v${i}`]);
      bench.commitAll();
    }
    t.ok(database.countPages() <= 4, 'one old and one new version of each page');
    t.equal(oldReader.value('SELECT b FROM t'), 'one');
    oldReader.run('COMMIT');
    t.ok(bench.tidy);
    t.end();
  });

  t.test(
    'rule 9: readers on many snapshots each see their own, in whatever order they leave',
    (t) => {
      const bench = new Bench(make);
      const [writer] = bench.connectAll(1) as [C];
      const readers = Array.from({ length: 20 }, (_, i) => {
        const reader = bench.connect();
        reader.run('BEGIN');
        reader.count();
        writer.run("INSERT INTO t(b) VALUES('v')");
        bench.commitAll();
        return { reader, rows: i + 1 };
      });
      t.ok(readers.every(({ reader, rows }) => reader.count() === rows));
      const order = [
        ...readers.filter((_, i) => i % 3 === 1),
        ...readers.filter((_, i) => i % 3 !== 1),
      ];
      for (const { reader } of order.reverse()) reader.run('COMMIT');
      t.ok(bench.tidy);
      t.end();
    },
  );

  t.test(
    'rule 15: the writer lock is held until COMMIT is captured, ROLLBACK, or the connection closes',
    (t) => {
      const { database, connections } = setUp();
      const [a, b] = connections as [C, C];
      a.run("BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('x')");
      t.equal(
        codeOf(() => b.run('BEGIN IMMEDIATE')),
        5,
      );
      a.run('COMMIT');
      t.same([database.writing, database.speculativeCount], [false, 1], 'before Raft commits it');
      b.run("BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('y')");
      b.run('ROLLBACK');
      b.run("BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('z')");
      b.close();
      t.same([database.writing, database.speculativeCount], [false, 1]);
      t.end();
    },
  );

  t.test('rule 14: what a reply depends on is the version that was read', (t) => {
    const { bench, database, connections } = setUp();
    const [writer, plain, explicit] = connections as [C, C, C];
    for (const connection of [writer, plain, explicit]) connection.inner.takeDependency();
    writer.run("INSERT INTO t(b) VALUES('x')");
    const head = database.headVersion;
    const cursor = plain.prepare('SELECT count(*) FROM t');
    plain.inner.takeDependency();
    cursor.step();
    cursor.finalize();
    t.ok(
      plain.inner.takeDependency() <= database.committedVersion,
      'a plain read waits for nothing',
    );
    explicit.run('BEGIN; SELECT * FROM t');
    t.equal(explicit.inner.takeDependency(), head, 'a read in a transaction waits for its head');
    explicit.run('COMMIT');
    writer.run('CREATE TABLE u(x)');
    explicit.inner.takeDependency();
    explicit.prepare('SELECT * FROM u').finalize();
    t.equal(
      explicit.inner.takeDependency(),
      database.headVersion,
      'so does what was only compiled',
    );
    t.equal(explicit.inner.takeDependency(), 0, 'and it is said once');
    bench.commitAll();
    t.end();
  });
}

type C = ReturnType<Bench['connect']>;
