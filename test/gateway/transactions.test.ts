import t from 'tap';
import { Turns } from '../../src/gateway/turns.ts';
import { request } from '../support/wire.ts';
import { type Client, Harness, type HarnessOptions, show } from './harness.ts';

async function clients(count: number, options?: HarnessOptions) {
  const harness = new Harness(options);
  const all: Client[] = [];
  for (let i = 0; i < count; i++) all.push(await harness.open());
  await all[0]?.exec('CREATE TABLE t(a)');
  return { harness, all: all as [Client, Client, Client, ...Client[]] };
}

const insert = (value: number) => request.execSql('INSERT INTO t VALUES (?)', [value]);

t.test('writers get their turn in the order in which they came', async (t) => {
  const { all, harness } = await clients(6);
  const [holder, ...others] = all;
  t.match(await holder.exec('BEGIN IMMEDIATE'), /^result/);
  for (const [i, client] of others.entries()) client.send(insert(i));
  await harness.settle();
  t.ok(others.every((client) => client.messages.length === 0));
  t.match(await holder.exec('COMMIT'), /^result/);
  await harness.settle();
  t.ok(others.every((client) => client.messages.length === 1));
  t.equal(await holder.query('SELECT group_concat(a) FROM t'), '0,1,2,3,4');
});

t.test('a thousand waiting writers do not deepen the stack', async (t) => {
  const harness = new Harness({ machineLimits: { maxSpeculativeTransactions: 100_000 } });
  const turns = new Turns(harness.machine.open('x'), harness.clock);
  t.ok(turns.tryTake());
  let deepest = 0;
  let depth = 0;
  for (let i = 0; i < 1000; i++) {
    turns.wait(
      {
        resume: () => {
          depth++;
          deepest = Math.max(deepest, depth);
          turns.release();
          depth--;
        },
        fail: () => {},
      },
      0,
    );
  }
  turns.release();
  t.equal(deepest, 1);
  t.notOk(turns.taken);
  t.equal(turns.waiting, 0);
});

t.test(
  'whoever waits for longer than the deadline is told that the database is locked',
  async (t) => {
    const { all, harness } = await clients(3, { limits: { busyTimeoutMs: 300 } });
    const [holder, first, second] = all;
    await holder.exec('BEGIN IMMEDIATE');
    first.send(insert(1));
    await harness.advance(200);
    second.send(insert(2));
    await harness.advance(99);
    t.equal(first.messages.length, 0);
    await harness.advance(1);
    t.equal(show(await first.next()), 'failure 5 database is locked');
    t.match(await holder.exec('COMMIT'), /^result/);
    t.equal(show(await second.next()), 'result 1 1');
  },
);

t.test('a deadline of 0 does not wait for another writer', async (t) => {
  const { all } = await clients(2, { limits: { busyTimeoutMs: 0 } });
  const [holder, other] = all;
  await holder.exec('BEGIN IMMEDIATE');
  t.equal(await other.exec('INSERT INTO t VALUES (1)'), 'failure 5 database is locked');
  t.equal(await other.query('SELECT count(*) FROM t'), '0');
});

t.test('writers wait while too much is captured and not committed', async (t) => {
  const { all, harness } = await clients(6, { machineLimits: { maxSpeculativeTransactions: 2 } });
  harness.consensus.committing = false;
  for (const [i, client] of all.entries()) client.send(insert(i));
  await harness.settle();
  t.equal(harness.consensus.waiting.length, 2);
  harness.consensus.commit(1);
  t.equal(harness.consensus.waiting.length, 2);
  for (let i = 0; i < 5; i++) harness.consensus.commit(1);
  for (const client of all) t.match(show(await client.next()), /^result/);
  t.equal(await all[0].query('SELECT group_concat(a) FROM t'), '0,1,2,3,4,5');
});

t.test('a client that goes while it waits in line leaves the line', async (t) => {
  const { all, harness } = await clients(3);
  const [holder, leaver, other] = all;
  await holder.exec('BEGIN IMMEDIATE');
  leaver.send(insert(1));
  other.send(insert(2));
  leaver.session.close();
  await holder.exec('ROLLBACK');
  t.equal(show(await other.next()), 'result 1 1');
  t.equal(await other.query('SELECT group_concat(a) FROM t'), '2');
  await harness.advance(10_000);
});

t.test('a client that goes in a transaction gives its turn back at once', async (t) => {
  const { all } = await clients(2);
  const [holder, other] = all;
  await holder.exec('BEGIN');
  await holder.exec('INSERT INTO t VALUES (1)');
  other.send(insert(2));
  t.equal(other.messages.length, 0);
  holder.session.close();
  t.equal(show(await other.next()), 'result 1 1');
  t.equal(await other.query('SELECT group_concat(a) FROM t'), '2');
});

t.test('a captured write of a client that has gone is committed all the same', async (t) => {
  const { all, harness } = await clients(2);
  const [leaver, other] = all;
  harness.consensus.committing = false;
  leaver.send(insert(1));
  leaver.session.close();
  harness.consensus.commit();
  t.equal(await other.query('SELECT a FROM t'), '1');
});

t.test('an idle transaction is rolled back; its client learns of it once', async (t) => {
  const { all, harness } = await clients(2, { limits: { idleTransactionTimeoutMs: 1000 } });
  const [idler, other] = all;
  await idler.exec('BEGIN');
  await idler.exec('INSERT INTO t VALUES (1)');
  await harness.advance(900);
  t.match(await idler.exec('INSERT INTO t VALUES (2)'), /^result/);
  other.send(insert(3));
  await harness.advance(999);
  t.equal(other.messages.length, 0);
  await harness.advance(1);
  t.equal(show(await other.next()), 'result 1 1');
  t.match(await idler.exec('COMMIT'), /^failure 516 transaction rolled back because it was idle/);
  t.match(await idler.exec('COMMIT'), /failure 1 cannot commit - no transaction is active/);
  t.equal(await idler.query('SELECT group_concat(a) FROM t'), '3');
});

t.test('a transaction that is opened behind a lost one is watched as well', async (t) => {
  const harness = new Harness({ limits: { idleTransactionTimeoutMs: 1000 } });
  const client = await harness.open();
  await client.exec('CREATE TABLE t (a)');
  await client.exec('BEGIN');
  harness.consensus.loseLeadership();
  harness.consensus.lead();
  client.send(request.open('test.db'));
  await client.expect('database');
  await client.exec('BEGIN');
  t.match(await client.exec('INSERT INTO t VALUES (1)'), /^result/);
  await harness.advance(1000);
  t.match(await client.exec('COMMIT'), /^failure 516/);
});

t.test(
  'a transaction that only reads may not idle for ever either: it keeps old pages',
  async (t) => {
    const { all, harness } = await clients(2, { limits: { idleTransactionTimeoutMs: 1000 } });
    const [idler, other] = all;
    await idler.exec('BEGIN');
    t.equal(await idler.query('SELECT count(*) FROM t'), '0');
    const pages = harness.store.livePages;
    await other.exec('INSERT INTO t VALUES (1)');
    t.ok(harness.store.livePages > pages);
    await harness.advance(1000);
    t.equal(harness.store.livePages, pages);
  },
);

t.test(
  'a transaction sees one snapshot; writing on an old one fails at once with 517',
  async (t) => {
    const { all } = await clients(2);
    const [reader, writer] = all;
    await reader.exec('BEGIN');
    t.equal(await reader.query('SELECT count(*) FROM t'), '0');
    await writer.exec('INSERT INTO t VALUES (1)');
    t.equal(await reader.query('SELECT count(*) FROM t'), '0');
    t.equal(await reader.exec('INSERT INTO t VALUES (2)'), 'failure 517 database is locked');
    t.match(await reader.exec('ROLLBACK'), /^result/);
    t.match(await reader.exec('INSERT INTO t VALUES (2)'), /^result/);
  },
);

t.test('rows read in a transaction wait until what it was pinned to is committed', async (t) => {
  const { all, harness } = await clients(2);
  const [writer, reader] = all;
  await reader.exec('BEGIN');
  harness.consensus.committing = false;
  writer.send(insert(1));
  reader.send(request.querySql('SELECT count(*) FROM t'));
  await harness.settle();
  t.equal(reader.messages.length, 0);
  harness.consensus.commit();
  t.equal(await reader.rows(), '1');
});

t.test('an error leaves a transaction open and its turn held', async (t) => {
  const { all } = await clients(2, { limits: { busyTimeoutMs: 0 } });
  const [holder, other] = all;
  await holder.exec('CREATE UNIQUE INDEX i ON t(a)');
  await holder.exec('BEGIN');
  await holder.exec('INSERT INTO t VALUES (1)');
  t.match(await holder.exec('INSERT INTO t VALUES (1)'), /^failure 2067/);
  t.match(await other.exec('INSERT INTO t VALUES (2)'), /^failure 5/);
  t.match(await holder.exec('COMMIT'), /^result/);
  t.match(await other.exec('INSERT INTO t VALUES (2)'), /^result/);
});

t.test('losing leadership: what each session is told', async (t) => {
  const { all, harness } = await clients(7, { limits: { busyTimeoutMs: 60_000 } });
  const [inFlight, blocked, waiting, idle, reader, streaming, dumping] = all;
  const inTransaction = await harness.open('other.db');
  await inTransaction.exec('BEGIN IMMEDIATE');
  all.push(inTransaction);
  await inFlight.exec(
    'INSERT INTO t WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT 20000) SELECT i FROM n',
  );
  harness.consensus.committing = false;
  inFlight.send(insert(1));
  blocked.send(request.execSql('BEGIN IMMEDIATE'));
  waiting.send(insert(2));
  harness.consensus.lease = false;
  reader?.send(request.querySql('SELECT 1'));
  harness.consensus.lease = true;
  streaming?.send(request.querySql('SELECT a, zeroblob(100) FROM t'));
  dumping?.send(request.dump('test.db'));
  const before = streaming?.messages.length ?? 0;
  t.ok(before > 0);

  harness.consensus.loseLeadership();

  t.equal(show(await inFlight.next()), 'failure 10506 leadership lost');
  t.equal(show(await blocked.next()), 'failure 10506 leadership lost');
  t.equal(show(await waiting.next()), 'failure 10250 not leader');
  t.equal(await reader?.rows(), 'failure 10250 not leader');
  t.match(await streaming?.rows(), /failure 9 interrupted$/);
  t.equal((await dumping?.expect('files'))?.files.length, 2, 'a dump goes on');
  t.notOk(all.some((client) => client.closed));
  for (const client of [inFlight, inTransaction, waiting, idle]) {
    t.equal(await client?.exec('COMMIT'), 'failure 10250 not leader');
    client?.send(request.finalize(0));
    t.equal(show(await client?.next()), 'failure 12 no database opened');
    client?.send(request.open('test.db'));
    t.equal(show(await client?.next()), 'failure 10250 not leader');
  }

  harness.consensus.lead();
  harness.consensus.committing = true;
  t.equal(await idle?.exec('SELECT 1'), 'failure 12 no database opened');
  idle?.send(request.open('test.db'));
  t.equal(show(await idle?.next()), 'database');
  t.equal(await idle?.query('SELECT count(*) FROM t'), '20000', 'only what was committed is there');
  t.equal(await idle?.exec('INSERT INTO t VALUES (9)'), 'result 20001 1');
});

t.test('pipelined requests behind a write that lost its leader are answered, too', async (t) => {
  const { all, harness } = await clients(1);
  const [client] = all;
  harness.consensus.committing = false;
  client.send(insert(1), insert(2), request.client());
  harness.consensus.loseLeadership();
  t.equal(show(await client.next()), 'failure 10506 leadership lost');
  t.match(show(await client.next()), /^failure (10250|12)/);
  t.equal(show(await client.next()), 'welcome');
});

t.test('a leader that is not ready yet lets requests wait until it is', async (t) => {
  const harness = new Harness({ following: true });
  harness.consensus.lead(false);
  const client = harness.connect();
  client.send(request.leader(), request.open('x'));
  await harness.settle();
  t.equal(client.messages.length, 1);
  client.messages.length = 0;
  harness.consensus.become({ ready: true });
  t.equal(show(await client.next()), 'database');
  harness.consensus.loseLeadership();
  harness.consensus.lead(false);
  client.send(request.execSql('SELECT 1'));
  harness.consensus.loseLeadership();
  t.equal(show(await client.next()), 'failure 10250 not leader');
});

t.test('while leadership is handed over nothing is proposed, reads and OPEN go on', async (t) => {
  const { all, harness } = await clients(3);
  const [holder, writer, reader] = all;
  await holder.exec('BEGIN IMMEDIATE');
  await holder.exec('INSERT INTO t VALUES (1)');
  const { length } = harness.consensus.proposed;
  harness.consensus.become({ transferring: true });
  holder.send(request.execSql('COMMIT'));
  writer.send(insert(2));
  t.equal(await reader.query('SELECT count(*) FROM t'), '0');
  await harness.open();
  t.equal(holder.messages.length + writer.messages.length, 0);
  t.equal(harness.consensus.proposed.length, length);
  harness.consensus.become({ transferring: false });
  t.match(show(await holder.next()), /^result/, 'a transfer that failed costs nothing');
  t.match(show(await writer.next()), /^result/);
  t.equal(await reader.query('SELECT sum(a) FROM t'), '3');
});

t.test('writers in line during a transfer are told that they did nothing', async (t) => {
  const { all, harness } = await clients(3);
  const [holder, waiting, late] = all;
  const reader = await harness.open();
  await holder.exec('BEGIN IMMEDIATE');
  waiting.send(insert(1));
  harness.consensus.become({ transferring: true });
  holder.session.close();
  late.send(insert(2));
  await harness.settle();
  t.equal(waiting.messages.length + late.messages.length, 0);
  harness.consensus.become({ state: 'follower', leader: undefined, transferring: false });
  reader.send(request.execSql('SELECT 1'));
  await harness.settle();
  t.equal(waiting.messages.length + reader.messages.length, 0, 'until it is known who leads');
  harness.consensus.loseLeadership();
  for (const client of [waiting, late, reader]) {
    t.equal(show(await client.next()), 'failure 10250 not leader');
  }
  harness.consensus.lead();
  const other = await harness.open('test.db');
  t.equal(await other.query('SELECT count(*) FROM t'), '0');
  t.match(await other.exec('INSERT INTO t VALUES (3)'), /^result/, 'nobody kept the turn');
});

t.test('a server whose log cannot be applied says so', async (t) => {
  const { all, harness } = await clients(1);
  harness.consensus.commitForeign(Buffer.alloc(8, 0xff));
  t.equal(harness.stopped.length, 1);
  t.match(await all[0].exec('SELECT 1'), /^failure 10 this server cannot apply its log/);
});

t.test('a text that was executed in part is not said to have done nothing', async (t) => {
  const { all, harness } = await clients(3);
  const [holder, texts, behind] = all;
  await holder.exec('BEGIN IMMEDIATE');
  texts.send(request.execSql('INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)'));
  behind.send(request.execSql('BEGIN IMMEDIATE'));
  await holder.exec('COMMIT');
  await behind.expect('result');
  t.equal(texts.messages.length, 0, 'its second statement waits for the turn');
  harness.consensus.loseLeadership();
  t.match(show(await texts.next()), /^failure 10506/);
});
