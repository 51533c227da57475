import t from 'tap';
import { request } from '../support/wire.ts';
import { breakable, hurry } from './disturbances.ts';
import { type Client, show } from './harness.ts';
import { type Observed, observed } from './readers-harness.ts';

const numbers = 'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT 5000)';
const long = 'SELECT a, b FROM t';
const count = 'SELECT count(*) FROM t';
const endless =
  'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n';

async function filled(seen: Observed): Promise<[Client, Client]> {
  const clients: [Client, Client] = [await seen.harness.open(), await seen.harness.open()];
  await clients[0].exec('CREATE TABLE t (a, b)');
  await clients[0].exec(`INSERT INTO t ${numbers} SELECT i, hex(zeroblob(40)) FROM n`);
  seen.ran.length = 0;
  return clients;
}

/** The first client has a long query under way, on a reader. */
async function reading(seen: Observed): Promise<[Client, Client]> {
  const [one, two] = await filled(seen);
  one.stalled = true;
  one.send(request.querySql(long));
  await seen.harness.settle();
  t.same(seen.ran, [`reader 1: ${long}`]);
  return [one, two];
}

t.test('INTERRUPT ends a read on a reader, and the next one finds that reader ready', async (t) => {
  const seen = observed();
  const [one, two] = await reading(seen);
  one.send(request.interrupt());
  one.drain();
  t.match(await one.rows(), / empty$/);
  t.equal(await two.query(count), '5000');
  t.equal(await one.query(count), '5000');
  t.same(seen.ran.slice(1), Array(2).fill(`reader 1: ${count}`));
});

t.test('INTERRUPT reaches a statement that does not come to a row', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  hurry(seen.harness, 1);
  one.arriving = request.interrupt();
  t.equal(await one.query(endless), 'empty');
  t.equal(await two.query(count), '5000');
  t.same(seen.ran, [`reader 1: ${endless}`, `reader 1: ${count}`]);
});

t.test('a client that is gone ends its read, while it pauses or runs', async (t) => {
  const seen = observed();
  const [one, two] = await reading(seen);
  one.session.close();
  t.equal(await two.query(count), '5000');
  t.same(seen.ran.slice(1), [`reader 1: ${count}`]);
  const three = await seen.harness.open();
  hurry(seen.harness, 1);
  three.arriving = undefined;
  t.equal(await three.query(endless), 'failure 9 interrupted');
  t.equal(await two.query(count), '5000');
  t.equal(seen.open.size, 1);
});

t.test('the statement timeout is that of the session whose statement runs', async (t) => {
  const seen = observed({ limits: { statementTimeoutMs: 1000 } });
  const [one, two] = await filled(seen);
  hurry(seen.harness, 1);
  t.equal(await one.query(endless), 'failure 9 interrupted');
  for (const client of [two, one]) {
    for (let i = 0; i < 5; i++) {
      seen.harness.clock.now();
      t.equal(await client.query(count), '5000');
    }
  }
  t.notMatch(seen.ran.join(), /session/);
  // What is compiled afterwards, which may take long, is under no deadline of a read before it.
  const tables = Array.from({ length: 500 }, (_, i) => `CREATE TABLE t${i}(a, b, c);`);
  t.match(await two.exec(`BEGIN;${tables.join('')}COMMIT`), /^result/);
  t.equal(await one.query(count), '5000');
  hurry(seen.harness, 2000);
  one.send(request.prepare(count));
  t.equal(show(await one.next()), 'statement 0 0');
});

t.test('a slow read is told of with its session, text and rows', async (t) => {
  const seen = observed({ limits: { slowStatementMs: 100 } });
  const [one] = await filled(seen);
  one.send(request.prepare(`${numbers} SELECT i FROM n`));
  await one.expect('statement');
  hurry(seen.harness, 60);
  one.send(request.query(0, []));
  t.equal((await one.rows()).split(' ').length, 5000);
  t.match(seen.harness.slowStatements, [
    { request: 'query', rows: 5000, sql: `${numbers} SELECT i FROM n` },
  ]);
  t.match(seen.ran, [/reader 1/]);
});

t.test('with the leadership the readers go, also in the middle of a read', async (t) => {
  const seen = observed();
  const [one] = await reading(seen);
  const { consensus, gateway } = seen.harness;
  consensus.loseLeadership();
  await seen.harness.settle();
  t.equal(seen.open.size, 0);
  t.equal(gateway.readerBudget.open, 0);
  t.equal(gateway.statementCaches.count, 0);
  t.equal(seen.harness.machine.replicas.get('test.db')?.database.pinCount, 0);
  one.drain();
  t.match(await one.rows(), /failure 9 interrupted$/);
  consensus.lead();
  const three = await seen.harness.open();
  await three.exec('DELETE FROM t');
  t.equal(await three.query(count), '0');
  t.match(seen.ran.at(-1), /^reader 2/);
});

t.test('what was dropped with the leadership is not read by those who come later', async (t) => {
  const seen = observed();
  const [one, two] = await filled(seen);
  const { consensus } = seen.harness;
  t.equal(await two.query(count), '5000');
  consensus.committing = false;
  one.send(request.execSql('DELETE FROM t'));
  await seen.harness.settle();
  t.equal(await two.query(count), '5000');
  consensus.loseLeadership();
  consensus.lead();
  consensus.committing = true;
  const three = await seen.harness.open();
  t.equal(await three.query(count), '5000');
  await three.exec('DELETE FROM t WHERE a = 1');
  t.equal(await three.query(count), '4999');
});

t.test('readers of an engine that broke are not called any more', async (t) => {
  let breakNext = false;
  const seen = observed({}, (engine) => breakable(engine, () => breakNext));
  const { gateway, engineFailures } = seen.harness;
  const [one, two] = await reading(seen);
  const three = await seen.harness.open();
  t.equal(await three.query(count), '5000');
  t.equal(seen.open.size, 2);
  breakNext = true;
  const restarted = 'failure 10 the SQL engine was restarted: open the database again';
  t.equal(await two.query(count), restarted);
  breakNext = false;
  const { calls } = seen;
  one.drain();
  t.match(await one.rows(), new RegExp(`${restarted}$`));
  three.session.close();
  t.equal(seen.calls, calls, 'nothing of it was called');
  t.equal(seen.open.size, 2, 'not even to close them');
  t.equal(gateway.readerBudget.open, 0);
  t.equal(gateway.statementCaches.count, 0);
  t.equal(engineFailures.length, 1);
  for (const client of [one, two]) {
    client.send(request.open('test.db'));
    t.equal(show(await client.next()), 'database');
    t.equal(await client.query(count), '5000');
  }
  t.match(seen.ran.slice(-2), [/^reader 3/, /^reader 3/]);
});
