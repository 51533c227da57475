import type { Test } from 'tap';
import type { SqliteConnection } from '../../src/sql/connection.ts';
import { type CapturedPage, Database } from '../../src/vfs/database.ts';
import { Bench, codeOf, type EngineMaker, fill, type TestConnection } from './engine-bench.ts';

/** Loss of leadership: what was captured vanishes, and no connection may ever see it again. */
export function leadershipConformance(t: Test, make: EngineMaker): void {
  const setUp = () => {
    const bench = new Bench(make);
    return { bench, database: bench.database, connections: bench.connectAll(4) as Four };
  };

  t.test('rule 4: after a drop every connection sees committed pages, its writer too', (t) => {
    const { bench, database, connections } = setUp();
    const [a, b, c] = connections;
    a.run("INSERT INTO t(b) VALUES('lost')");
    b.run("UPDATE t SET b = 'lost too'");
    t.equal(database.speculativeCount, 2);
    database.dropSpeculative();
    t.same(
      connections.map((k) => k.column('SELECT b FROM t')),
      Array(4).fill('one'),
    );
    b.run("INSERT INTO t(b) VALUES('next')");
    bench.commitAll();
    t.same(
      connections.map((k) => k.column('SELECT b FROM t')),
      Array(4).fill('one next'),
    );
    t.equal(c.value('PRAGMA integrity_check'), 'ok');
    t.ok(bench.tidy);
    t.end();
  });

  t.test(
    'rule 4: pages of another leader with the counter of a dropped transaction are not mistaken for it',
    (t) => {
      const { database, connections } = setUp();
      const [writer, reader] = connections;
      const pages = remoteVariant(database, writer);
      database.dropSpeculative();
      database.applyRemote(pages);
      t.same(
        [writer, reader].map((k) => k.value('SELECT b FROM t')),
        ['BBB', 'BBB'],
      );
      t.end();
    },
  );

  t.test('rule 4, control: with counters used twice the dropped row is read', (t) => {
    let counter = 0;
    const reused = { next: () => ++counter };
    const bench = new Bench(make, (store) => new Database(store, 'db', reused));
    const [writer] = bench.connectAll(1) as [TestConnection];
    const pages = remoteVariant(bench.database, writer);
    const lost = bench.database.head.counter;
    counter = lost - 2;
    bench.database.dropSpeculative();
    bench.database.applyRemote(pages);
    t.equal(bench.database.head.counter, lost);
    t.equal(writer.value('SELECT b FROM t'), 'AAA');
    t.end();
  });

  t.test('rule 4: a writer that is doomed with page 1 in hand has its counter burnt', (t) => {
    const { database, connections } = setUp();
    const [writer, reader] = connections;
    writer.run(`BEGIN IMMEDIATE; ${fill(100, 1100, 1000)}`);
    const next = database.head.counter + 1;
    database.dropSpeculative();
    t.ok(database.head.counter > next);
    codeOf(() => writer.run('ROLLBACK'));
    t.same([writer.count(), reader.count()], [1, 1]);
    t.end();
  });

  t.test('rule 4: a dropped schema is forgotten even when the next has the same cookie', (t) => {
    const { bench, database, connections } = setUp();
    const [writer, reader] = connections;
    writer.run('CREATE TABLE lost(x)');
    reader.prepare('SELECT * FROM lost').finalize();
    const cookie = writer.value('BEGIN; PRAGMA schema_version; COMMIT');
    database.dropSpeculative();
    const other = bench.connect();
    other.run('CREATE TABLE kept(y)');
    bench.commitAll();
    t.equal(other.value('PRAGMA schema_version'), cookie);
    t.same(
      [writer, reader].map((k) => codeOf(() => k.run('SELECT * FROM lost'))),
      [1, 1],
    );
    t.same(
      [writer, reader].map((k) => k.count('SELECT count(*) FROM kept')),
      [0, 0],
    );
    t.end();
  });

  t.test('rule 4: a transaction that read before a drop cannot write after it', (t) => {
    const { database, connections } = setUp();
    const [late, reader] = connections;
    late.run('BEGIN');
    t.equal(late.count(), 1);
    database.dropSpeculative();
    t.equal(
      codeOf(() => late.run("INSERT INTO t(b) VALUES('x')")),
      517,
    );
    late.run('ROLLBACK');
    late.run("INSERT INTO t(b) VALUES('x')");
    t.same([late.count(), reader.count()], [1, 1], 'its cache is not taken for what is committed');
    t.end();
  });

  t.test(
    'rule 5: a doomed writer gets 10506, and its connection is usable after the rollback',
    (t) => {
      const { bench, database, connections } = setUp();
      const [first, writer] = connections;
      first.run("INSERT INTO t(b) VALUES('lost')");
      writer.run(`BEGIN IMMEDIATE; ${fill(100, 1100, 1000)}`);
      t.ok((database.writer?.changedPages ?? 0) > 0, 'some of it is in the store already');
      database.dropSpeculative();
      t.equal(
        codeOf(() => writer.run('COMMIT')),
        10506,
      );
      codeOf(() => writer.run('ROLLBACK'));
      t.same([database.speculativeCount, database.writing], [0, false]);
      t.equal(writer.column('SELECT b FROM t'), 'one');
      writer.run("INSERT INTO t(b) VALUES('ok')");
      bench.commitAll();
      t.equal(first.column('SELECT b FROM t'), 'one ok');
      t.end();
    },
  );

  t.test('rule 5: a writer on a committed snapshot is doomed as well', (t) => {
    const { bench, database, connections } = setUp();
    const [writer] = connections;
    writer.run("BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('zombie')");
    bench.store.leading = false;
    database.dropSpeculative();
    t.equal(
      codeOf(() => writer.run('COMMIT')),
      10506,
    );
    codeOf(() => writer.run('ROLLBACK'));
    bench.store.leading = true;
    t.same([database.writing, database.speculativeCount, writer.count()], [false, 0, 1]);
    t.end();
  });

  t.test(
    'rule 5: a reader on a dropped head gets 10506, readers of what is committed notice nothing',
    (t) => {
      const { bench, database, connections } = setUp();
      const [writer, onHead, onCommitted] = connections;
      writer.run(fill(100, 1100, 1000));
      const cursor = onCommitted.prepare('SELECT a FROM t');
      t.ok(cursor.step());
      onHead.run('BEGIN');
      t.equal(onHead.count('SELECT count(*) FROM t WHERE a < 200'), 101);
      database.dropSpeculative();
      t.equal(
        codeOf(() => onHead.run('SELECT sum(length(b)) FROM t')),
        10506,
      );
      codeOf(() => onHead.run('ROLLBACK'));
      t.equal(onHead.count(), 1);
      t.notOk(cursor.step());
      cursor.finalize();
      t.ok(bench.tidy);
      t.end();
    },
  );

  t.test('rule 7, control: an exclusive locking mode keeps a stale cache', (t) => {
    const { bench, connections } = setUp();
    const [writer, reader] = connections;
    t.equal(
      codeOf(() => reader.run('PRAGMA locking_mode = EXCLUSIVE')),
      23,
    );
    const { core, pointer } = reader.inner as SqliteConnection;
    core.build.api.sqlite3_set_authorizer(pointer, 0, 0);
    t.equal(reader.value('PRAGMA locking_mode = EXCLUSIVE'), 'exclusive');
    t.equal(reader.count(), 1);
    writer.run("INSERT INTO t(b) VALUES('x')");
    bench.commitAll();
    t.equal(reader.count(), 1, 'stale, which is why it is refused');
    t.end();
  });

  t.test('a database that was replaced answers 10506 to whoever still has it open', (t) => {
    const { bench, database, connections } = setUp();
    const [writer, reader] = connections;
    const cursor = reader.prepare('SELECT a FROM t');
    t.ok(cursor.step());
    writer.run("BEGIN; INSERT INTO t(b) VALUES('x')");
    database.close();
    t.equal(
      codeOf(() => writer.run('COMMIT')),
      10506,
    );
    t.equal(
      codeOf(() => connections[2].count()),
      10506,
    );
    for (const connection of connections) connection.close();
    t.equal(bench.store.livePages, 0);
    t.end();
  });
}

type Four = [TestConnection, TestConnection, TestConnection, TestConnection];

/**
 * Lets `writer` set `t.b` to 'AAA', and returns the same pages with 'BBB', as another server's leader could have
 * made them: with the counter that `writer` believes to be its own.
 */
function remoteVariant(database: Database, writer: TestConnection): CapturedPage[] {
  writer.run("UPDATE t SET b = 'AAA' WHERE a = 1");
  const { counter } = database.head;
  return [1, 2].map((number) => {
    const content = Buffer.from(database.page(number, database.head) ?? []);
    const at = content.indexOf('AAA');
    if (at !== -1) content.write('BBB', at);
    if (number === 1) {
      content.writeUInt32BE(counter, 24);
      content.writeUInt32BE(counter, 92);
    }
    return { number, content };
  });
}
