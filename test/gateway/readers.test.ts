import t from 'tap';
import { request } from '../support/wire.ts';
import type { Client } from './harness.ts';
import { type Observed, observed } from './readers-harness.ts';

/** Two clients of a database with a table of so many rows, each of about 100 bytes. */
async function filled(seen: Observed, rows = 3): Promise<[Client, Client]> {
  const clients: [Client, Client] = [await seen.harness.open(), await seen.harness.open()];
  const [one] = clients;
  t.equal(await one.exec('CREATE TABLE t (a INTEGER PRIMARY KEY, b)'), 'result 0 0');
  const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ${rows})`;
  const filler = 'x'.repeat(90);
  t.match(await one.exec(`INSERT INTO t ${numbers} SELECT i, i || '${filler}' FROM n`), /^result/);
  seen.ran.length = 0;
  return clients;
}

const point = 'SELECT a FROM t WHERE a = ?';
const long = 'SELECT a, b FROM t';

t.test('reads of two sessions run on one reader, compiled once', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  t.equal(await one.query(point, 1), '1');
  t.equal(await two.query(point, 2), '2');
  for (const client of [one, two]) {
    client.send(request.prepare(point));
    await client.expect('statement');
    client.send(request.query(0, [3]));
    t.equal(await client.rows(), '3');
    client.send(request.query(0, [3, 4]));
    t.match(await client.rows(), /^failure/, 'too many parameters');
  }
  t.same(seen.compiled, [point]);
  t.same(seen.ran, Array(4).fill(`reader 1: ${point}`));
  t.equal(await one.query('SELECT a FROM t WHERE a = ?'), '', 'no parameter of the request before');
});

t.test('what is no plain read runs on the connection of its session', async (t) => {
  const seen = observed();
  const [one] = await filled(seen);
  const texts = [
    'PRAGMA user_version',
    'EXPLAIN QUERY PLAN SELECT 1',
    'WITH x(i) AS (VALUES (8)) INSERT INTO t SELECT i, i FROM x RETURNING a',
    `SELECT 1 -- ${'long '.repeat(200)}`,
    ' -- comment\nSELECT 1',
  ];
  for (const text of texts) t.notMatch(await one.query(text), /failure/);
  t.notMatch(seen.ran.join(), /reader/);
  t.equal(
    await one.query('SELECT 1; PRAGMA case_sensitive_like = on'),
    'failure 1 nonempty statement tail',
  );
  t.equal(await (await seen.harness.open()).query("SELECT 'a' LIKE 'A'"), '1', 'only its own');
  t.equal(await one.query('SELECT missing'), 'failure 1 no such column: missing');
});

t.test('a transaction sees what it wrote, others do not', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  await one.exec('BEGIN');
  await one.exec('DELETE FROM t WHERE a = 1');
  t.equal(await one.query(point, 1), '');
  t.equal(await two.query(point, 1), '1');
  await one.exec('COMMIT');
  t.equal(await two.query(point, 1), '');
  t.equal(await one.query(point, 2), '2');
  t.same(
    seen.ran.filter((run) => run.endsWith(point)),
    [`session 1: ${point}`, ...Array(3).fill(`reader 1: ${point}`)],
  );
});

t.test('only what is committed is read', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  seen.harness.consensus.committing = false;
  one.send(request.execSql('DELETE FROM t WHERE a = 1'));
  t.equal(await two.query(point, 1), '1');
  // Compiled against a schema that is not committed, and may never be.
  one.send(request.execSql('DROP TABLE t'));
  t.equal(await two.query(point, 1), '1');
  seen.harness.consensus.commit();
  t.equal(await two.query(point, 1), '');
});

t.test(
  'a text that does not fit a schema on its way is refused once that is certain',
  async (t) => {
    const seen = observed();
    const [one, two] = await filled(seen);
    seen.harness.consensus.committing = false;
    one.send(request.execSql('DROP TABLE t'));
    two.send(request.querySql('SELECT max(a) FROM u'));
    await seen.harness.settle();
    t.equal(two.messages.length, 0);
    seen.harness.consensus.commit();
    t.equal(await two.rows(), 'failure 1 no such table: u');
    t.same(seen.compiled, ['SELECT max(a) FROM u']);
  },
);

t.test('a reader that still holds a snapshot has no further user', async (t) => {
  const seen = observed({}, (engine) => {
    const connect = engine.connect.bind(engine);
    engine.connect = (database, use) =>
      Object.defineProperty(connect(database, use), 'idle', { get: () => false });
    return engine;
  });
  const [one] = await filled(seen);
  for (let i = 0; i < 2; i++) t.equal(await one.query(point, 1), '1');
  t.same(seen.ran, [`reader 1: ${point}`, `reader 2: ${point}`]);
  t.equal(seen.open.size, 0);
});

t.test('virtual tables are read on a reader, which they leave without a snapshot', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  await one.exec('CREATE VIRTUAL TABLE f USING fts5(x)');
  await one.exec("INSERT INTO f VALUES ('some words'), ('other words')");
  await one.exec('CREATE VIRTUAL TABLE r USING rtree(id, low, high)');
  await one.exec('INSERT INTO r VALUES (1, 2, 3), (4, 5, 6)');
  seen.ran.length = 0;
  const texts = [
    "SELECT x FROM f WHERE f MATCH 'some'",
    "SELECT highlight(f, 0, '<', '>') FROM f WHERE f MATCH 'some' ORDER BY rank",
    'SELECT id FROM r WHERE low > 4',
    "SELECT value FROM json_each('[7]')",
    'SELECT count(*) > 1 FROM dbstat',
    'SELECT count(*) > 1 FROM sqlite_dbpage',
  ];
  for (const client of [one, two]) {
    const answers: string[] = [];
    for (const text of texts) answers.push(await client.query(text));
    t.same(answers, ['some words', '<some> words', '4', '7', '1', '1']);
  }
  await one.exec("INSERT INTO f VALUES ('some more')");
  t.equal(await two.query("SELECT x FROM f WHERE f MATCH 'some'"), 'some words some more');
  t.equal(seen.ran.filter((run) => run.startsWith('reader 1')).length, 2 * texts.length + 1);
});

t.test('a long query keeps its reader and its snapshot, whatever others do', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen, 5000);
  t.equal(await two.query(point, 1), '1');
  seen.ran.length = 0;
  one.stalled = true;
  one.send(request.querySql(long));
  await seen.harness.settle();
  t.equal(await two.exec('UPDATE t SET b = 0'), 'result 0 5000');
  for (let i = 0; i < 3; i++) t.equal(await two.query('SELECT max(b) FROM t'), '0');
  one.drain();
  const rows = (await one.rows()).split(' ');
  t.equal(rows.length, 5000);
  t.ok(rows.every((row) => row.endsWith('x')));
  t.equal(await two.exec('UPDATE t SET b = 1'), 'result 0 5000');
  t.equal(await one.query('SELECT max(b) FROM t'), '1', 'whichever reader it was');
  t.equal(seen.harness.machine.replicas.get('test.db')?.database.pinCount, 0);
  t.match(seen.ran, [`reader 1: ${long}`, /session 2/, /reader 2: SELECT max/]);
});

t.test('a text that does not end at once runs elsewhere for a while', async (t) => {
  const seen = observed();
  const [one] = await filled(seen, 1000);
  for (let i = 0; i < 102; i++) await one.query(long);
  t.equal(seen.ran.filter((run) => run === `reader 1: ${long}`).length, 2);
  t.equal(seen.ran.filter((run) => run === `session 1: ${long}`).length, 100);
});

t.test('when no reader is left, a session reads on its own connection', async (t) => {
  const limits = { maxReadersPerDatabase: 2, maxReaders: 3 };
  const seen = observed({ limits });
  const [one, two] = await filled(seen, 5000);
  const three = await seen.harness.open();
  const elsewhere = await seen.harness.open('other.db');
  const fourth = await seen.harness.open('fourth.db');
  for (const client of [one, two]) {
    client.stalled = true;
    client.send(request.querySql(long));
  }
  await seen.harness.settle();
  seen.ran.length = 0;
  t.equal(await three.query(point, 1), '1');
  t.equal(await elsewhere.query('SELECT 1'), '1');
  t.equal(await fourth.query('SELECT 1'), '1');
  for (const client of [one, two]) client.drain();
  for (const client of [one, two]) t.equal((await client.rows()).split(' ').length, 5000);
  t.equal(await three.query(point, 1), '1');
  t.match(seen.ran, [/session 3/, /reader 3/, /session 5/, /reader [12]/]);
  t.equal(seen.harness.gateway.readerBudget.open, 3);
});

t.test('readers are closed with the last session of their database', async (t) => {
  const seen = observed();
  const { readerBudget, statementCaches } = seen.harness.gateway;
  const [one, two] = await filled(seen, 5000);
  one.stalled = true;
  one.send(request.querySql(long));
  await two.query(point, 1);
  t.equal(seen.open.size, 2);
  one.session.close();
  t.equal(seen.open.size, 2, 'it is given back');
  two.session.close();
  t.equal(seen.open.size, 0);
  t.equal(readerBudget.open, 0);
  t.equal(statementCaches.count, 0);
  t.equal(seen.harness.machine.replicas.get('test.db')?.database.pinCount, 0);
  const three = await seen.harness.open();
  t.equal(await three.query(point, 1), '1');
  t.equal(seen.open.size, 1);
});

t.test('the shared statement is compiled again when the schema has changed', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  const all = 'SELECT * FROM t WHERE a = 1';
  t.match(await one.query(all), /^1\|1x+$/);
  await two.exec('ALTER TABLE t ADD COLUMN c DEFAULT 7');
  t.match(await one.query(all), /^1\|1x+\|7$/);
  one.send(request.querySql(all));
  t.same((await one.expect('rows')).batch.columns, ['a', 'b', 'c']);
  await one.exec('DROP TABLE t');
  t.equal(await two.query(all), 'failure 1 no such table: t');
  await one.exec('CREATE VIEW t AS SELECT 1 AS a');
  t.equal(await two.query(all), '1');
  t.same(seen.compiled, [all]);
});

t.test('what is read does not leave without a proof of leadership', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  seen.harness.consensus.lease = false;
  one.send(request.querySql(point, [1]));
  two.send(request.querySql(point, [2]));
  await seen.harness.settle();
  t.equal(one.messages.length, 0);
  t.equal(seen.harness.gateway.readerBudget.open, 1, 'those that wait keep none');
  t.same(seen.ran, []);
  seen.harness.consensus.confirm();
  t.equal(await one.rows(), '1');
  seen.harness.consensus.confirm();
  t.equal(await two.rows(), '2');
  t.same(seen.ran, Array(2).fill(`reader 1: ${point}`));
});

t.test('new statistics count once they are committed', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen, 5000);
  const three = await seen.harness.open();
  await two.query(point, 1);
  await one.exec('BEGIN');
  await one.exec('ANALYZE');
  t.equal(await two.query(point, 1), '1');
  three.stalled = true;
  three.send(request.querySql(long));
  await one.exec('COMMIT');
  t.equal(await two.query(point, 1), '1');
  three.drain();
  t.equal((await three.rows()).split(' ').length, 5000);
  t.equal(await two.query(point, 1), '1');
  t.same(
    seen.ran.filter((run) => run.startsWith('reader')).map((run) => run.slice(0, 8)),
    ['reader 1', 'reader 1', 'reader 1', 'reader 2', 'reader 2'],
  );
  t.equal(seen.open.size, 1);
});
