import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { CapturedPage, Database } from '../../src/vfs/database.ts';
import { deletedDatabasePage, emptyDatabasePage, lockPage } from '../../src/vfs/page-one.ts';
import {
  Bench,
  codeOf,
  type EngineMaker,
  failureOf,
  fill,
  imageOf,
  type TestConnection,
} from './engine-bench.ts';

/** What leaves a server and what arrives: page sets, images, snapshots; compared with native SQLite. */
export function replicationConformance(t: Test, make: EngineMaker): void {
  const setUp = () => {
    const bench = new Bench(make);
    return { bench, database: bench.database, connections: bench.connectAll(3) as Three };
  };

  t.test('rule 1: a follower applies pages under open cursors and transactions', (t) => {
    const leader = setUp();
    const follower = new Bench(make);
    follower.store.leading = false;
    follower.database.restore(pagesOf(imageOf(leader.database)));
    leader.connections[0].run(fill(2, 1500, 10));
    replicate(leader.bench, follower.database);
    const [cursorOwner, transactionOwner] = [follower.connect(), follower.connect()];
    const cursor = cursorOwner.prepare('SELECT a FROM t');
    let rows = 0;
    while (rows < 10 && cursor.step()) rows++;
    transactionOwner.run('BEGIN');
    t.equal(transactionOwner.count(), 1500);
    leader.connections[1].run('DELETE FROM t WHERE a > 5; CREATE TABLE more(x)');
    replicate(leader.bench, follower.database);
    while (cursor.step()) rows++;
    cursor.finalize();
    t.same([rows, transactionOwner.count()], [1500, 1500]);
    transactionOwner.run('COMMIT');
    t.same([transactionOwner.count(), cursorOwner.count('SELECT count(*) FROM more')], [5, 0]);
    t.ok(imageOf(follower.database).equals(imageOf(leader.database)), 'images are identical');
    t.ok(follower.tidy);
    follower.store.leading = true;
    transactionOwner.run("INSERT INTO t(b) VALUES('leads now')");
    follower.commitAll();
    t.equal(cursorOwner.count(), 6);
    t.equal(cursorOwner.value('PRAGMA integrity_check'), 'ok');
    t.end();
  });

  t.test('rule 4: pages without page 1, as WAL mode leaders send them, reach every cache', (t) => {
    const { database, connections } = setUp();
    const [, reader] = connections;
    t.equal(reader.value('SELECT b FROM t'), 'one');
    const content = Buffer.from(database.page(2, database.committed) ?? []);
    content.write('ONE', content.indexOf('one'));
    database.applyRemote([{ number: 2, content }]);
    t.equal(reader.value('SELECT b FROM t'), 'ONE');
    t.end();
  });

  t.test('rule 6: a one-row transaction ships one page, whatever the counters say', (t) => {
    const { bench, connections } = setUp();
    for (let i = 0; i < 10; i++) connections[i % 3]?.run("INSERT INTO t(b) VALUES('x')");
    const sets = bench.commitAll();
    t.same(
      sets.map((pages) => pages.map(({ number }) => number)),
      Array(10).fill([2]),
    );
    connections[0].run('PRAGMA user_version = 7');
    const [setting] = bench.commitAll();
    t.same(
      setting?.map(({ number }) => number),
      [1],
      'page 1 alone is shipped when it changed',
    );
    t.end();
  });

  t.test('rule 7: images say WAL mode, open in native SQLite and hold the same rows', (t) => {
    const { bench, database, connections } = setUp();
    const [a] = connections;
    a.run('CREATE INDEX tb ON t(b); CREATE VIEW v AS SELECT a FROM t');
    a.run(fill(2, 2000, 100));
    a.run('DELETE FROM t WHERE a % 3 = 0');
    bench.commitAll();
    const image = imageOf(database);
    t.same([image[18], image[19]], [2, 2]);
    const file = join(t.testdir(), 'image');
    writeFileSync(file, image);
    t.equal(native(file, 'PRAGMA integrity_check'), 'ok');
    t.equal(native(file, 'PRAGMA journal_mode'), 'wal');
    const digest = 'SELECT count(*), sum(a), sum(length(b)) FROM t';
    t.equal(native(file, digest), a.run(digest)[0]?.join('|'));
    t.end();
  });

  t.test(
    'rule 8: after each transaction the size is what page 1 says, also when the file shrinks',
    (t) => {
      const { bench, database, connections } = setUp();
      const [a] = connections;
      const follower = new Bench(make);
      follower.database.restore(pagesOf(imageOf(database)));
      const steps = [
        fill(2, 3000, 800),
        'DELETE FROM t WHERE a > 10',
        'VACUUM',
        'PRAGMA auto_vacuum = INCREMENTAL',
        'VACUUM',
        fill(2000, 4000, 800),
        'DELETE FROM t WHERE a > 10',
        'PRAGMA incremental_vacuum(100)',
        'DROP TABLE t',
      ];
      const wrong = steps.filter((sql) => {
        a.run(sql);
        replicate(bench, follower.database);
        const image = imageOf(database);
        const sameSize = image.readUInt32BE(28) === database.committedPageCount;
        return !sameSize || !image.equals(imageOf(follower.database)) || !bench.tidy;
      });
      t.same(wrong, []);
      t.equal(a.value('PRAGMA integrity_check'), 'ok');
      t.end();
    },
  );

  t.test(
    'rule 8: native SQLite reads what is left after VACUUM while an old reader keeps the big image',
    (t) => {
      const { bench, database, connections } = setUp();
      const [writer, reader] = connections;
      writer.run(fill(2, 3000, 800));
      bench.commitAll();
      reader.run('BEGIN');
      t.equal(reader.count(), 3000);
      writer.run('DELETE FROM t WHERE a > 10');
      writer.run('VACUUM');
      bench.commitAll();
      t.ok(database.committedPageCount < 10);
      t.equal(reader.count('SELECT count(*) FROM t WHERE length(b) = 800'), 2999);
      reader.run('COMMIT');
      t.ok(bench.tidy);
      t.end();
    },
  );

  t.test('rule 8: page 1 of size 0, alone, deletes the database on every server', (t) => {
    const { bench, database, connections } = setUp();
    const [a, b, c] = connections;
    a.run('CREATE TABLE u(x)');
    bench.commitAll();
    const counting = b.prepare('SELECT count(*) FROM u');
    const outside = failureOf(() => a.run('PRAGMA delete_database'));
    t.same(outside, [
      1,
      'PRAGMA delete_database must be run in a write transaction. Use BEGIN IMMEDIATE to start one.',
    ]);
    a.run('BEGIN IMMEDIATE; PRAGMA delete_database; COMMIT');
    t.ok(counting.step(), 'readers see it once it is committed');
    counting.reset();
    const [pages] = bench.commitAll();
    t.same(pages, [{ number: 1, content: deletedDatabasePage() }]);
    t.same([database.committedPageCount, imageOf(database).length], [1, 4096]);
    t.equal(
      codeOf(() => counting.step()),
      1,
    );
    t.same(
      [a, b, c].map((k) => codeOf(() => k.count())),
      [1, 1, 1],
    );
    // The schema cookie counts from 0 again: the second table has the number that u had.
    c.run('CREATE TABLE other(z); CREATE TABLE u2(z)');
    bench.commitAll();
    t.same(
      [a, b].map((k) => codeOf(() => k.run('SELECT * FROM u'))),
      [1, 1],
    );
    t.equal(b.count('SELECT count(*) FROM u2'), 0);
    t.end();
  });

  t.test('rule 8: delete_database is undone by ROLLBACK and ignored beside other writes', (t) => {
    const { bench, database, connections } = setUp();
    const [a, b] = connections;
    a.run('BEGIN IMMEDIATE; PRAGMA delete_database; ROLLBACK');
    a.run("BEGIN IMMEDIATE; PRAGMA delete_database; INSERT INTO t(b) VALUES('x'); COMMIT");
    bench.commitAll();
    t.equal(b.count(), 2);
    a.run(`BEGIN IMMEDIATE; ${fill(10, 2000, 1000)}`);
    t.same(
      failureOf(() => a.run('PRAGMA delete_database')),
      [1, 'PRAGMA delete_database must be the only statement run in the transaction.'],
    );
    a.run('ROLLBACK');
    a.run('BEGIN IMMEDIATE; PRAGMA delete_database');
    database.dropSpeculative();
    t.equal(
      codeOf(() => a.run('COMMIT')),
      10506,
    );
    t.equal(b.count(), 2);
    t.end();
  });

  t.test('a new database is what native SQLite makes of an empty file in WAL mode', (t) => {
    const file = join(t.testdir(), 'new');
    native(file, 'PRAGMA page_size=4096; PRAGMA journal_mode=WAL');
    const expected = execFileSync('head', ['-c', '4096', file]);
    // The version of the library that wrote last.
    const ours = emptyDatabasePage();
    expected.copy(ours, 96, 96, 100);
    t.ok(ours.equals(expected));
    t.ok(imageOf(new Bench(make).database).equals(emptyDatabasePage()));
    t.end();
  });

  t.test('transactions of native SQLite in WAL mode apply, and this engine writes on top', (t) => {
    const { directory, sets } = nativeTransactions(t.testdir());
    const follower = new Bench(make);
    const reader = follower.connect();
    for (const pages of sets) follower.database.applyRemote(pages);
    t.ok(
      sets.some((pages) => pages.every(({ number }) => number !== 1)),
      'some without page 1',
    );
    t.equal(reader.count('SELECT count(*) FROM n'), 500);
    t.equal(reader.value('PRAGMA integrity_check'), 'ok');
    reader.run("INSERT INTO n(b) VALUES('on top')");
    follower.commitAll();
    const file = join(directory, 'back');
    writeFileSync(file, imageOf(follower.database));
    t.equal(native(file, 'PRAGMA integrity_check; SELECT count(*) FROM n'), 'ok\n501');
    t.end();
  });

  t.test('rule 10: an image beyond 1 GiB has zeros at the lock page', (t) => {
    const { database } = new Bench(make);
    const pageOne = emptyDatabasePage();
    pageOne.writeUInt32BE(lockPage + 5, 28);
    const content = Buffer.alloc(4096, 0xee);
    database.applyRemote([
      { number: 1, content: pageOne },
      { number: lockPage - 1, content },
      { number: lockPage + 1, content },
    ]);
    const image = database.pinCommitted();
    const page = (number: number) => {
      const target = Buffer.alloc(4096, 0x11);
      image.copyPage(number, target, 0);
      return target;
    };
    t.equal(image.pageCount, 262_150);
    t.same(
      [lockPage - 1, lockPage, lockPage + 1].map((n) => page(n)[77]),
      [0xee, 0, 0xee],
    );
    image.release();
    t.end();
  });

  t.test('rule 13: an image is walked in slices while writers go on', (t) => {
    const { bench, database, connections } = setUp();
    const [writer, reader] = connections;
    writer.run(fill(2, 2000, 800));
    bench.commitAll();
    const before = imageOf(database);
    const image = database.pinCommitted();
    const walked = Buffer.alloc(image.pageCount * 4096);
    for (let page = 1; page <= image.pageCount; page++) {
      image.copyPage(page, walked, (page - 1) * 4096);
      if (page % 64 === 0) {
        writer.run("UPDATE t SET b = b || 'changed' WHERE a % 7 = 0");
        bench.commitAll();
      }
    }
    t.ok(walked.equals(before));
    image.release();
    t.ok(bench.tidy);
    t.equal(reader.value('PRAGMA integrity_check'), 'ok');
    t.end();
  });
}

type Three = [TestConnection, TestConnection, TestConnection];

/** Commits what `leader` captured, and applies it to `follower`. */
function replicate(leader: Bench, follower: Database): void {
  for (const pages of leader.commitAll()) follower.applyRemote(pages);
}

function pagesOf(image: Buffer): Buffer[] {
  const pages: Buffer[] = [];
  for (let at = 0; at < image.length; at += 4096) pages.push(image.subarray(at, at + 4096));
  return pages;
}

/** What the sqlite3 shell answers. */
function native(file: string, sql: string): string {
  return execFileSync('sqlite3', [file, sql]).toString().trim();
}

/** Page sets of transactions that native SQLite wrote to a write-ahead log. */
function nativeTransactions(directory: string): { directory: string; sets: CapturedPage[][] } {
  const file = join(directory, 'native');
  const copy = join(directory, 'wal');
  const fillNative = (from: number, to: number) =>
    `WITH RECURSIVE q(i) AS (SELECT ${from} UNION ALL SELECT i+1 FROM q WHERE i<${to}) ` +
    'INSERT INTO n SELECT i, hex(zeroblob(100)) FROM q;';
  const script = [
    'PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE n(a INTEGER PRIMARY KEY, b TEXT);',
    fillNative(1, 300),
    "UPDATE n SET b = 'short' WHERE a = 7;",
    'CREATE INDEX nb ON n(b);',
    fillNative(301, 500),
    "UPDATE n SET b = 'again' WHERE a = 8;",
    `.shell cp ${file}-wal ${copy}`,
  ].join('\n');
  execFileSync('sqlite3', [file], { input: script });
  return { directory, sets: framesOf(execFileSync('cat', [copy])) };
}

/** https://www.sqlite.org/fileformat2.html#the_write_ahead_log: a frame with a size ends a transaction. */
function framesOf(wal: Buffer): CapturedPage[][] {
  const sets: CapturedPage[][] = [];
  let pages = new Map<number, CapturedPage>();
  for (let at = 32; at + 24 + 4096 <= wal.length; at += 24 + 4096) {
    const number = wal.readUInt32BE(at);
    pages.set(number, { number, content: wal.subarray(at + 24, at + 24 + 4096) });
    if (wal.readUInt32BE(at + 4) === 0) continue;
    sets.push([...pages.values()]);
    pages = new Map();
  }
  return sets;
}
