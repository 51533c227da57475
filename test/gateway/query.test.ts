import t from 'tap';
import { frame, request, text, uint64 } from '../support/wire.ts';
import { breakable } from './disturbances.ts';
import { type Client, Harness, show } from './harness.ts';

/** `count` rows of about `bytes` bytes each. */
const rowsOf = (count: number, bytes: number) =>
  `WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT ${count}) SELECT i, zeroblob(${bytes}) FROM n`;

async function filled(harness: Harness, rows: number): Promise<Client> {
  const client = await harness.open();
  await client.exec('CREATE TABLE t(i, b)');
  await client.exec(`INSERT INTO t ${rowsOf(rows, 100)}`);
  return client;
}

t.test('a statement without columns answers rows of nothing, and is carried out', async (t) => {
  const client = await new Harness().open();
  for (const sql of [
    'CREATE TABLE t(a)',
    'INSERT INTO t VALUES(1)',
    'BEGIN',
    'COMMIT',
    'PRAGMA foreign_keys=0',
  ]) {
    client.send(request.querySql(sql));
    await client.harness.settle();
    t.equal(client.messages[0]?.length, 24, sql);
    t.strictSame(await client.next(), {
      kind: 'rows',
      batch: { columns: [], rows: [], done: true },
    });
  }
  t.equal(await client.query('SELECT count(*) FROM t'), '1');
});

t.test('rows of a writing statement are held until it is committed', async (t) => {
  const harness = new Harness();
  const client = await harness.open();
  await client.exec('CREATE TABLE t(i, b)');
  harness.consensus.committing = false;
  client.send(request.querySql(`INSERT INTO t ${rowsOf(200, 100)} RETURNING i, b`));
  await harness.settle();
  t.equal(client.messages.length, 0);
  harness.consensus.commit();
  t.ok(client.messages.length > 3);
  t.equal((await client.rows()).split(' ').length, 200);
});

t.test('rows of a writing statement that never is committed are not shown', async (t) => {
  const harness = new Harness();
  const client = await harness.open();
  await client.exec('CREATE TABLE t(a)');
  harness.consensus.committing = false;
  client.send(request.querySql('INSERT INTO t VALUES (1) RETURNING a'));
  await harness.settle();
  harness.consensus.loseLeadership();
  t.equal(await client.rows(), 'failure 10506 leadership lost');
});

t.test('rows of a writing statement beyond the limit undo it', async (t) => {
  const harness = new Harness({ limits: { maxReturningBytes: 10_000 } });
  const client = await harness.open();
  await client.exec('CREATE TABLE t(i, b)');
  const sql = `INSERT INTO t ${rowsOf(1000, 100)} RETURNING i, b`;
  t.match(await client.query(sql), /^failure 18/);
  t.match(await client.exec('BEGIN'), /^result/);
  t.equal(await client.query('INSERT INTO t VALUES (1,2) RETURNING i'), '1');
  t.match(await client.query(sql), /^failure 18/);
  t.match(await client.exec('COMMIT'), /^result/);
  t.equal(await client.query('SELECT * FROM t'), '1|2');
});

t.test(
  'EXEC of a statement with rows is undone, in a transaction and outside, and keeps no lock',
  async (t) => {
    const harness = new Harness({ limits: { busyTimeoutMs: 0 } });
    const [client, other] = [await harness.open(), await harness.open()];
    await client.exec('CREATE TABLE t(a)');
    const refusal = 'failure 1 rows yielded when none expected for EXEC request';
    t.equal(await client.exec('INSERT INTO t VALUES (1) RETURNING a'), refusal);
    t.match(await other.exec('INSERT INTO t VALUES (2)'), /^result/);
    await client.exec('BEGIN');
    await client.exec('INSERT INTO t VALUES (3)');
    t.equal(await client.exec('INSERT INTO t VALUES (4) RETURNING a'), refusal);
    t.match(await client.exec('COMMIT'), /^result/);
    t.match(await client.exec('DELETE FROM t WHERE a = 9 RETURNING a'), /^result/);
    client.send(request.prepare('INSERT INTO t VALUES (5) RETURNING a'), request.exec(0));
    t.equal(show(await client.next()), 'statement 0 0');
    t.equal(show(await client.next()), refusal);
    t.equal(await other.query('SELECT group_concat(a) FROM t'), '2,3');
    t.equal(await client.exec('SELECT a FROM t'), refusal);
    t.match(await client.exec('SELECT a FROM t WHERE a > 9'), /^result/);
  },
);

t.test('a failing commit of a statement with rows leaves nothing open', async (t) => {
  const client = await new Harness().open();
  await client.exec(
    'CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)',
  );
  t.match(await client.query('INSERT INTO c VALUES (1) RETURNING p'), /^failure 787/);
  t.match(await client.exec('COMMIT'), /no transaction is active/);
  t.equal(await client.query('SELECT count(*) FROM c'), '0');
});

t.test('too many parameters, or one that cannot be decoded, fail a query', async (t) => {
  const client = await new Harness().open();
  t.equal(await client.query('SELECT ?', 1, 2), 'failure 10 leader exec failed');
  const unixTime = Buffer.concat([Buffer.from([1, 9, 0, 0, 0, 0, 0, 0]), uint64(5)]);
  client.send(frame(9, Buffer.concat([uint64(0), text('SELECT ?'), unixTime])));
  t.equal(await client.rows(), 'failure 10 leader exec failed');
  client.send(frame(8, Buffer.concat([uint64(0), text('SELECT ? WHERE 0'), unixTime])));
  t.equal(show(await client.next()), 'failure 1 bind parameters');
});

t.test('a statement shows the columns of the schema that it runs on', async (t) => {
  const harness = new Harness();
  const [a, b] = [await harness.open(), await harness.open()];
  await a.exec('CREATE TABLE t(a, b, c); INSERT INTO t VALUES (1, 2, 3)');
  a.send(request.prepare('SELECT * FROM t'));
  await a.expect('statement');
  for (const [sql, columns, row] of [
    ['SELECT 1 WHERE 0', ['a', 'b', 'c'], '1|2|3'],
    ['ALTER TABLE t ADD COLUMN d DEFAULT 4', ['a', 'b', 'c', 'd'], '1|2|3|4'],
    ['ALTER TABLE t DROP COLUMN a', ['b', 'c', 'd'], '2|3|4'],
  ] as const) {
    await b.exec(sql);
    a.send(request.query(0), request.query(0));
    const { batch } = await a.expect('rows');
    t.strictSame(batch.columns, columns);
    t.equal(await a.rows(), row);
  }
  await b.exec('DROP TABLE t');
  a.send(request.query(0));
  t.equal(await a.rows(), 'failure 1 no such table: t');
  a.send(request.exec(0));
  t.equal(show(await a.next()), 'failure 1 no such table: t');
});

t.test('a long query lets others have their turn and holds no writer back', async (t) => {
  const harness = new Harness();
  const [reader, other] = [await filled(harness, 10_000), await harness.open()];
  reader.send(request.querySql('SELECT i, b FROM t'));
  const first = reader.messages.length;
  t.ok(first > 0 && first < 20);
  other.send(request.execSql('DELETE FROM t'));
  harness.clock.runNext(harness.clock.now());
  await harness.settle();
  t.equal(show(await other.next()), 'result 0 10000');
  t.equal((await reader.rows()).split(' ').length, 10_000, 'the snapshot stays as it was');
  t.equal(await reader.query('SELECT count(*) FROM t'), '0');
});

t.test('INTERRUPT ends a query early and is answered exactly once', async (t) => {
  const harness = new Harness();
  const client = await filled(harness, 10_000);
  client.send(request.querySql('SELECT i, b FROM t'));
  client.send(request.interrupt(), request.client());
  await harness.settle();
  const kinds = client.messages.map((message) => message.readUInt8(4));
  const parts = kinds.filter((kind) => kind === 7).length;
  t.ok(parts > 0 && parts < 20);
  t.strictSame(kinds.slice(parts), [8, 2]);
  t.ok(client.messages.slice(0, parts).every((message) => message.at(-1) === 0xee));
  client.messages.length = 0;
  t.equal(await client.query('SELECT 1'), '1');
  t.equal(harness.store.livePages, pinnedNothing(harness));
});

t.test('INTERRUPT behind other requests, or after the last row, changes nothing', async (t) => {
  const harness = new Harness();
  const client = await filled(harness, 1000);
  client.send(request.querySql('SELECT i, b FROM t'), request.client(), request.interrupt());
  t.equal((await client.rows()).split(' ').length, 1000);
  t.equal(show(await client.next()), 'welcome');
  t.equal(show(await client.next()), 'empty');
  client.send(request.interrupt());
  t.equal(show(await client.next()), 'empty');
});

const endlessCount =
  'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n';

t.test(
  'INTERRUPT ends a statement that keeps the event loop busy: exactly one EMPTY',
  async (t) => {
    const harness = new Harness();
    const client = await filled(harness, 10);
    const { clock } = harness;
    const now = clock.now.bind(clock);
    let passedMs = 0;
    clock.now = () => (now() + passedMs++) as ReturnType<typeof now>;
    client.arriving = request.interrupt();
    client.send(request.querySql(endlessCount));
    t.equal(show(await client.next()), 'empty');
    t.equal(client.messages.length, 0);
    t.equal(await client.query('SELECT count(*) FROM t'), '10');
  },
);

t.test('a client that has gone stops its statement', async (t) => {
  const harness = new Harness();
  const [client, other] = [await filled(harness, 10), await harness.open()];
  const { clock } = harness;
  const now = clock.now.bind(clock);
  let passedMs = 0;
  clock.now = () => (now() + passedMs++) as ReturnType<typeof now>;
  client.arriving = undefined;
  client.send(request.execSql(`INSERT INTO t(i) ${endlessCount}`));
  t.equal(show(await client.next()), 'failure 9 interrupted');
  t.equal(await other.query('SELECT count(*) FROM t'), '10');
});

t.test('a client that stops reading stalls only itself, in bounded memory', async (t) => {
  const harness = new Harness({
    limits: { outputHighWaterBytes: 50_000, maxStalledQueryMs: 5000 },
  });
  const [reader, other] = [await filled(harness, 10_000), await harness.open()];
  const pages = harness.store.livePages;
  reader.stalled = true;
  reader.send(request.querySql('SELECT i, b FROM t'));
  await harness.settle();
  t.ok(reader.bufferedBytes > 50_000 && reader.bufferedBytes < 100_000);
  t.equal(await other.exec('UPDATE t SET i = i + 1'), 'result 0 10000');
  t.ok(harness.store.livePages > pages, 'it keeps the pages it is reading');
  reader.drain();
  reader.stalled = true;
  await harness.settle();
  t.ok(reader.bufferedBytes > 50_000 && reader.bufferedBytes < 100_000);
  await harness.advance(5000);
  t.equal(harness.store.livePages, pages, 'but not for ever');
  reader.drain();
  t.match(await reader.rows(), /failure 9 query abandoned/);
  t.equal(await reader.query('SELECT 1'), '1');
});

t.test('a client that goes in the middle of a query lets go of its snapshot', async (t) => {
  const harness = new Harness();
  const reader = await filled(harness, 5000);
  reader.send(request.querySql('SELECT i, b FROM t'));
  reader.session.close();
  await harness.settle();
  t.equal(harness.machine.replicas.get('test.db')?.database.pinCount, 0);
});

t.test('a statement that runs for too long is interrupted; pauses do not count', async (t) => {
  const harness = new Harness({ limits: { statementTimeoutMs: 1000 } });
  const client = await filled(harness, 1000);
  const { clock } = harness;
  const now = clock.now.bind(clock);
  let passedMs = 0;
  clock.now = () => (now() + passedMs) as ReturnType<typeof now>;
  client.send(request.querySql('SELECT i, b FROM t'));
  passedMs += 2000;
  t.equal((await client.rows()).split(' ').length, 1000);
  // Each look at the clock takes a moment.
  clock.now = () => (now() + passedMs++) as ReturnType<typeof now>;
  const endless =
    'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n';
  t.equal(await client.query(endless), 'failure 9 interrupted');
  // A connection that was idle may have a large schema to read before it can compile anything.
  const other = await harness.open();
  const tables = Array.from({ length: 500 }, (_, i) => `CREATE TABLE t${i}(a, b, c);`);
  t.match(await other.exec(`BEGIN;${tables.join('')}COMMIT`), /^result/);
  passedMs += 100_000;
  client.send(request.prepare('SELECT count(*) FROM t'));
  t.equal(show(await client.next()), 'statement 0 0');
});

t.test('text ends at a zero byte on the wire', async (t) => {
  const client = await new Harness().open();
  t.equal(await client.query("SELECT 'a' || char(0) || 'bbbbbbbbbbbbbbbbbbb', 2"), 'a|2');
});

t.test('DUMP sends the image as it is taken, without a copy, and needs no leader', async (t) => {
  const harness = new Harness({ limits: { outputHighWaterBytes: 300_000 } });
  const client = await filled(harness, 20_000);
  harness.consensus.loseLeadership();
  client.stalled = true;
  client.send(request.dump('test.db'), request.client());
  await harness.settle();
  t.ok(client.bufferedBytes < 600_000);
  t.equal(client.messages.length, 0);
  client.drain();
  const { files } = await client.expect('files');
  const image = Buffer.from(files[0]?.content ?? []);
  t.equal(image.length, image.readUInt32BE(28) * 4096);
  t.equal(image.toString('latin1', 0, 15), 'SQLite format 3');
  t.strictSame(files[1], { name: 'test.db-wal', content: Buffer.alloc(0) });
  t.equal(show(await client.next()), 'welcome');
  client.send(request.dump('unknown'));
  t.equal(show(await client.next()), 'failure 1002 database does not exists');
});

t.test('a dump that is not read in time closes its connection', async (t) => {
  const harness = new Harness({ limits: { outputHighWaterBytes: 100_000 } });
  const client = await filled(harness, 20_000);
  client.stalled = true;
  client.send(request.dump('test.db'));
  await harness.advance(60_000);
  t.ok(client.closed);
  t.equal(harness.machine.replicas.get('test.db')?.database.pinCount, 0);
});

t.test('a database that was opened and never written can be dumped here', async (t) => {
  const client = await new Harness().open('fresh');
  client.send(request.dump('fresh'));
  const { files } = await client.expect('files');
  t.equal(files[0]?.content.length, 4096);
});

t.test('PRAGMA delete_database removes a database once its last client has gone', async (t) => {
  const harness = new Harness();
  const [client, other] = [await filled(harness, 10), await harness.open('other')];
  await client.exec('BEGIN IMMEDIATE; PRAGMA delete_database; COMMIT');
  t.match(await client.query('SELECT * FROM t'), /no such table/);
  client.session.close();
  other.send(request.dump('test.db'));
  t.equal(show(await other.next()), 'failure 1002 database does not exists');
  const again = await harness.open();
  t.equal(await again.exec('CREATE TABLE t(a)'), 'result 0 0');
});

t.test('an engine that breaks is replaced: SQL state is lost, data is not', async (t) => {
  let breakNext = false;
  const harness = new Harness({ wrapEngine: (engine) => breakable(engine, () => breakNext) });
  const [a, b, c, d] = [
    await harness.open(),
    await harness.open(),
    await harness.open(),
    await harness.open(),
  ];
  await a.exec('CREATE TABLE t(a)');
  await b.exec('BEGIN IMMEDIATE');
  await b.exec('INSERT INTO t VALUES (1)');
  d.send(request.execSql('INSERT INTO t VALUES (4)'));
  breakNext = true;
  t.equal(
    await a.query('SELECT 1'),
    'failure 10 the SQL engine was restarted: open the database again',
  );
  breakNext = false;
  t.match(show(await d.next()), /^failure 10 the SQL engine was restarted/);
  t.equal(harness.engineFailures.length, 1);
  for (const client of [a, b, c, d]) {
    t.equal(await client.exec('COMMIT'), 'failure 12 no database opened');
    client.send(request.open('test.db'));
    t.equal(show(await client.next()), 'database');
  }
  t.equal(await b.query('SELECT count(*) FROM t'), '0');
  t.equal(await b.exec('INSERT INTO t VALUES (2)'), 'result 1 1');
  t.equal(await c.query('SELECT a FROM t'), '2');
});

function pinnedNothing(harness: Harness): number {
  let pages = 0;
  for (const { database } of harness.machine.replicas.values()) {
    if (database.pinCount > 0) return -1;
    pages += database.committedPageCount;
  }
  return pages;
}
