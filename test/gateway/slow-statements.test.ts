import t from 'tap';
import { request } from '../support/wire.ts';
import { hurry } from './disturbances.ts';
import { Harness } from './harness.ts';

const limits = { slowStatementMs: 100 };
const counting = 'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT 2000)';

t.test('a statement that runs for long is told of, with its rows', async (t) => {
  const harness = new Harness({ limits });
  const client = await harness.open();
  t.equal(await client.query('SELECT 1'), '1');
  t.strictSame(harness.slowStatements, [], 'others are not');
  hurry(harness, 60);
  const sql = `${counting} SELECT i FROM n`;
  t.equal((await client.query(sql)).split(' ').length, 2000);
  const [slow, ...more] = harness.slowStatements;
  t.strictSame(more, []);
  t.match(slow, { database: 'test.db', request: 'querySql', waitingMs: 0, rows: 2000, sql });
  t.ok((slow?.durationMs ?? 0) >= 100);
});

t.test('0 turns it off', async (t) => {
  const harness = new Harness({ limits: { slowStatementMs: 0 } });
  const client = await harness.open();
  hurry(harness, 60);
  t.match(await client.exec(`CREATE TABLE t AS ${counting} SELECT i FROM n`), /^result/);
  t.strictSame(harness.slowStatements, []);
});

t.test('the time in line is told', async (t) => {
  const harness = new Harness({ limits });
  const [holder, waiter] = [await harness.open(), await harness.open()];
  await holder.exec('CREATE TABLE t(a)');
  await holder.exec('BEGIN IMMEDIATE');
  waiter.send(request.execSql('INSERT INTO t VALUES (?)', ['secret']));
  await harness.advance(300);
  await holder.exec('COMMIT');
  t.match(await waiter.next(), { kind: 'result' });
  t.strictSame(harness.slowStatements, [
    {
      database: 'test.db',
      request: 'execSql',
      durationMs: 300,
      waitingMs: 300,
      committingMs: 0,
      rows: 1,
      sql: 'INSERT INTO t VALUES (?)',
    },
  ]);
});

t.test('the time until it is committed is told, of a prepared statement too', async (t) => {
  const harness = new Harness({ limits });
  const client = await harness.open();
  await client.exec('CREATE TABLE t(a)');
  client.send(request.prepare('INSERT INTO t VALUES (?), (?)'));
  await client.expect('statement');
  harness.consensus.committing = false;
  client.send(request.exec(0, ['secret', 2]));
  await harness.advance(400);
  harness.consensus.commit();
  t.match(await client.next(), { kind: 'result' });
  t.strictSame(harness.slowStatements, [
    {
      database: 'test.db',
      request: 'exec',
      durationMs: 400,
      waitingMs: 0,
      committingMs: 400,
      rows: 2,
      sql: 'INSERT INTO t VALUES (?), (?)',
    },
  ]);
});

t.test('one that failed has no rows', async (t) => {
  const harness = new Harness({ limits });
  const client = await harness.open();
  await client.exec('CREATE TABLE t(a)');
  client.send(request.prepare('INSERT INTO t VALUES (1)'));
  await client.expect('statement');
  const other = await harness.open();
  harness.consensus.committing = false;
  client.send(request.exec(0, []));
  other.send(request.execSql('INSERT INTO t VALUES (2)'));
  await harness.advance(500);
  harness.consensus.loseLeadership();
  await harness.settle();
  t.match(harness.slowStatements, [
    { request: 'exec', durationMs: 500, rows: undefined, sql: 'INSERT INTO t VALUES (1)' },
    { request: 'execSql', durationMs: 500, rows: undefined, sql: 'INSERT INTO t VALUES (2)' },
  ]);
});

t.test('a long text is cut, between two characters', async (t) => {
  const harness = new Harness({ limits: { ...limits, maxLoggedSqlBytes: 13 } });
  const client = await harness.open();
  hurry(harness, 200);
  t.equal(await client.query("SELECT 'aaaé', 1"), 'aaaé|1');
  t.equal(harness.slowStatements.at(-1)?.sql, "SELECT 'aaaé…");
  t.equal(await client.query("SELECT 'aaaaé', 1"), 'aaaaé|1');
  t.equal(harness.slowStatements.at(-1)?.sql, "SELECT 'aaaa…");
});
