import type { Test } from 'tap';
import { Bench, codeOf, type EngineMaker, failureOf, TestConnection } from './engine-bench.ts';

/** Defaults of a fresh connection, what is refused, and names that SQLite would give a meaning. */
export function settingsConformance(t: Test, make: EngineMaker): void {
  t.test('rule 7: a fresh connection answers with the settings of WAL mode', (t) => {
    const connection = new Bench(make).connect();
    const settings = {
      journal_mode: 'wal',
      page_size: 4096n,
      synchronous: 0n,
      foreign_keys: 1n,
      auto_vacuum: 0n,
      encoding: 'UTF-8',
      cache_size: -2000n,
      temp_store: 0n,
      recursive_triggers: 0n,
      wal_autocheckpoint: 1000n,
      user_version: 0n,
      application_id: 0n,
      query_only: 0n,
    };
    const answers = Object.fromEntries(
      Object.keys(settings).map((name) => [name, connection.value(`PRAGMA ${name}`)]),
    );
    t.same(answers, settings);
    const statement = connection.prepare('PRAGMA journal_mode');
    t.equal(Buffer.from(statement.columnName(0)).toString(), 'journal_mode');
    t.equal(connection.value('SELECT * FROM pragma_journal_mode'), 'wal');
    t.equal(connection.value('SELECT * FROM pragma_page_size'), 4096n);
    t.end();
  });

  t.test('settings that bound memory are remembered and have no effect', (t) => {
    const connection = new Bench(make).connect();
    connection.run('PRAGMA cache_size = -100000; PRAGMA temp_store = MEMORY');
    t.equal(connection.value('PRAGMA cache_size'), -100000n);
    t.equal(connection.value('PRAGMA temp_store'), 2n);
    t.equal(new Bench(make).connect().value('PRAGMA cache_size'), -2000n);
    t.end();
  });

  t.test('refused pragmas answer 23 at compile time, in every spelling', (t) => {
    const connection = new Bench(make).connect();
    const refused = [
      'PRAGMA journal_mode = delete',
      'PRAGMA journal_mode = wal',
      'PRAGMA JOURNAL_MODE = WAL',
      'PRAGMA main.journal_mode(wal)',
      'PRAGMA page_size = 4096',
      'PRAGMA synchronous = 1',
      'PRAGMA wal_autocheckpoint = 5',
      'PRAGMA wal_checkpoint',
      'PRAGMA wal_checkpoint(TRUNCATE)',
      'PRAGMA busy_timeout',
      'PRAGMA busy_timeout = 5',
      'PRAGMA read_uncommitted',
      'PRAGMA read_uncommitted = 1',
      'PRAGMA locking_mode',
      'PRAGMA locking_mode = EXCLUSIVE',
      'PRAGMA hard_heap_limit = 1',
      'PRAGMA soft_heap_limit = 1',
      "ATTACH 'file' AS a",
      "ATTACH ':memory:' AS a",
      "ATTACH 'file:x?mode=memory' AS a",
      "ATTACH 'x' || 'y' AS a",
      'ATTACH ? AS a',
    ];
    const accepted = refused.filter((sql) => {
      const [code, text] = failureOf(() => connection.inner.prepare(Buffer.from(sql))) ?? [];
      return code !== 23 || text !== 'not authorized';
    });
    t.same(accepted, []);
    const compiled = 'SELECT * FROM pragma_locking_mode';
    t.equal(
      codeOf(() => connection.run(compiled)),
      23,
      'also as a table',
    );
    t.end();
  });

  t.test('VACUUM INTO is refused with 23, and nothing loads extensions or reaches files', (t) => {
    const connection = new Bench(make).connect();
    t.same(
      failureOf(() => connection.run("VACUUM INTO 'copy'")),
      [23, 'authorization denied'],
    );
    const codes = [
      "SELECT load_extension('x')",
      "SELECT writefile('x', 'y')",
      "SELECT readfile('/etc/passwd')",
      "PRAGMA temp_store_directory = '/tmp'",
      'UPDATE sqlite_dbpage SET data = zeroblob(4096) WHERE pgno = 1',
    ].map((sql) => {
      const code = codeOf(() => connection.run(sql));
      return code === 0 && sql.startsWith('PRAGMA') ? 1 : code;
    });
    t.ok(
      codes.every((code) => code === 1 || code === 23),
      codes.join(' '),
    );
    t.end();
  });

  t.test('what dqlite allows is allowed', (t) => {
    const bench = new Bench(make);
    const connection = bench.connectAll(1)[0] as TestConnection;
    const allowed = [
      "ATTACH '' AS extra",
      'CREATE TABLE extra.x(a)',
      'INSERT INTO extra.x VALUES(1)',
      'DETACH extra',
      'PRAGMA foreign_keys = OFF',
      'PRAGMA user_version = 5',
      'PRAGMA application_id = 6',
      'PRAGMA query_only = 0',
      'PRAGMA auto_vacuum = FULL',
      'VACUUM',
      'ANALYZE',
      'REINDEX',
      'PRAGMA integrity_check',
      'PRAGMA optimize',
      'SELECT "double quoted"',
      'EXPLAIN QUERY PLAN SELECT * FROM t',
      'CREATE TEMP VIEW tv AS SELECT 1',
    ];
    const failed = allowed.filter((sql) => {
      const code = codeOf(() => connection.run(sql));
      bench.commitAll();
      return code !== 0;
    });
    t.same(failed, []);
    t.ok(bench.tidy);
    t.end();
  });

  t.test('temporary tables are private, never replicated, and may share a transaction', (t) => {
    const bench = new Bench(make);
    const [a, b] = bench.connectAll(2) as [TestConnection, TestConnection];
    const version = bench.database.headVersion;
    a.run('CREATE TEMP TABLE tt(x); INSERT INTO tt VALUES(1), (2)');
    a.run("ATTACH '' AS extra; CREATE TABLE extra.e(x); INSERT INTO extra.e VALUES(1)");
    t.equal(bench.database.headVersion, version);
    t.equal(
      codeOf(() => b.run('SELECT * FROM tt')),
      1,
    );
    a.run('CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO tt VALUES(new.a); END');
    a.run("INSERT INTO t(b) VALUES('t')");
    t.equal(bench.commitAll().length, 1);
    t.equal(a.count('SELECT count(*) FROM tt'), 3);
    a.run("BEGIN; INSERT INTO tt VALUES(9); INSERT INTO t(b) VALUES('m'); ROLLBACK");
    t.equal(a.count('SELECT count(*) FROM tt'), 3);
    a.run("BEGIN; INSERT INTO tt VALUES(9); INSERT INTO t(b) VALUES('m'); COMMIT");
    t.equal(bench.commitAll().length, 1);
    t.same([a.count('SELECT count(*) FROM tt'), b.count()], [5, 3]);
    t.end();
  });

  t.test('a database name has no meaning for SQLite, and database_list shows it', (t) => {
    const bench = new Bench(make);
    const names = [
      'plain',
      'file:x?mode=memory',
      'file:y?vfs=unix&immutable=1',
      'x-wal',
      'x-journal',
      ':memory',
      '../../etc/passwd',
      'sp ace',
      '\xff\xfe\x01',
      'n'.repeat(504),
    ];
    const wrong = names.filter((name) => {
      const database = bench.store.create(name);
      const [first, second] = [bench.connect(database), bench.connect(database)];
      first.run('CREATE TABLE t(a)');
      const captured = database.speculativeCount === 1;
      database.commitOldest();
      const statement = second.prepare('PRAGMA database_list');
      statement.step();
      const listed = Buffer.from(statement.columnBytes(2)).toString('latin1');
      return !captured || listed !== name || second.count() !== 0;
    });
    t.same(wrong, []);
    t.end();
  });

  t.test('a reader reads, and writes nothing', (t) => {
    const bench = new Bench(make);
    bench.connectAll(1);
    const reader = new TestConnection(bench.engine.connect(bench.database, 'reader'));
    t.equal(reader.value('SELECT b FROM t'), 'one');
    t.equal(
      codeOf(() => reader.run('INSERT INTO t VALUES (2, 0)')),
      8,
    );
    t.ok(reader.inner.idle);
    t.end();
  });

  t.test('what a statement has to do with its connection is known when it is compiled', (t) => {
    const bench = new Bench(make);
    const [first] = bench.connectAll(1) as [TestConnection];
    first.run('CREATE VIEW v AS SELECT changes()');
    bench.commitAll();
    const bound = (sql: string) => first.prepare(sql).connectionBound;
    t.notOk(bound('SELECT b, max(a), random() FROM t'));
    for (const sql of ['SELECT Last_Insert_RowId()', 'SELECT * FROM v', 'PRAGMA cache_size']) {
      t.ok(bound(sql), sql);
    }
    t.ok(bound('SELECT 1 FROM pragma_data_version'));
    t.ok(first.prepare('ANALYZE').analyzes);
    t.notOk(first.prepare('SELECT 1').analyzes);
    first.run('PRAGMA user_version; PRAGMA table_info(t); PRAGMA foreign_keys = 0');
    bench.database.schemaEpoch++;
    t.equal(first.value('SELECT b FROM t'), 'one');
    t.notOk(first.inner.customized);
    for (const sql of [
      'PRAGMA recursive_triggers = 1',
      "ATTACH '' AS more",
      'CREATE TEMP TABLE x(y)',
      'CREATE VIEW temp.x AS SELECT 1',
      'CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END',
    ]) {
      const connection = bench.connect();
      connection.prepare(sql).finalize();
      t.ok(connection.inner.customized, sql);
    }
    t.end();
  });

  t.test('a connection catches up with the schema of the head', (t) => {
    const bench = new Bench(make);
    const [first, second] = bench.connectAll(2) as [TestConnection, TestConnection];
    second.prepare('SELECT * FROM t').finalize();
    first.run('DROP TABLE t');
    second.inner.catchUp();
    t.same(
      failureOf(() => second.prepare('SELECT * FROM t')),
      [1, 'no such table: t'],
    );
    t.end();
  });

  t.test('databases have writer locks and versions of their own', (t) => {
    const bench = new Bench(make);
    const other = bench.store.create('other');
    const [a] = bench.connectAll(1) as [TestConnection];
    const b = bench.connect(other);
    a.run('BEGIN IMMEDIATE');
    b.run('CREATE TABLE t(x)');
    t.same([bench.database.speculativeCount, other.speculativeCount], [0, 1]);
    a.run('ROLLBACK');
    t.end();
  });
}
