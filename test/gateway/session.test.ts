import t from 'tap';
import { channels } from '../../src/base/channels.ts';
import { selfAddress } from '../support/fake-consensus.ts';
import { frame, handshake, parameters, request, text, uint32, uint64 } from '../support/wire.ts';
import { Client, Harness, show } from './harness.ts';

const legacyHandshake = Buffer.from('e53f4360d74d1086', 'hex');

t.test('a client with the legacy handshake gets the older form of SERVER', async (t) => {
  const client = new Client(new Harness());
  client.send(legacyHandshake, request.leader());
  await client.harness.settle();
  t.ok(client.messages[0]?.subarray(8).equals(text(selfAddress)));
  client.send(request.client());
  client.messages.shift();
  t.match(await client.next(), { kind: 'welcome', heartbeatTimeoutMs: 15_000 });
});

t.test('bytes may be chopped up anywhere', async (t) => {
  const harness = new Harness();
  const client = new Client(harness);
  const bytes = Buffer.concat([handshake, request.open('x'), request.execSql('CREATE TABLE t(a)')]);
  for (const byte of bytes) client.session.receive(Buffer.from([byte]));
  t.equal(show(await client.next()), 'database');
  t.equal(show(await client.next()), 'result 0 0');
});

t.test('malformed input closes its connection without a word, and no other', async (t) => {
  const harness = new Harness();
  const other = await harness.open();
  const cases: [name: string, bytes: Buffer][] = [
    ['a body of no words', frame(0, Buffer.alloc(0))],
    ['a body that is too short', frame(4, uint64(0))],
    ['text without an end', frame(3, Buffer.alloc(8, 65))],
    [
      'a parameter header longer than the body',
      frame(8, Buffer.concat([uint64(0), text('SELECT 1'), uint64(0xff)])),
    ],
    ['a message that is too long', frame(0, Buffer.alloc(8), 0, 0x2000_0000)],
    ['a name of 505 bytes', request.open('n'.repeat(505))],
  ];
  for (const [name, bytes] of cases) {
    const client = harness.connect();
    client.send(bytes, request.leader());
    await harness.settle();
    t.ok(client.closed, name);
    t.equal(client.messages.length, 0, name);
  }
  const unknown = new Client(harness);
  unknown.send(uint64(2), request.leader());
  t.ok(unknown.closed, 'an unknown handshake');
  t.equal(await other.query('SELECT 1'), '1');
  t.equal(harness.gateway.sessionCount, 1);
});

t.test('answers before malformed input still arrive', async (t) => {
  const client = new Harness().connect();
  client.send(request.client(), frame(0, Buffer.alloc(0)));
  t.equal(show(await client.next()), 'welcome');
  t.ok(client.closed);
});

t.test(
  'what is not a request, or has no such schema, is answered and the connection goes on',
  async (t) => {
    const client = await new Harness().open();
    const cases: [bytes: Buffer, answer: string][] = [
      [frame(2, uint64(0)), 'failure 1005 unrecognized request type'],
      [frame(255, uint64(0)), 'failure 1005 unrecognized request type'],
      [frame(0, uint64(0), 1), 'failure 1005 unrecognized schema version'],
      [frame(4, Buffer.concat([uint64(0), text('')]), 2), 'failure 1 unrecognized schema version'],
      [frame(8, Buffer.concat([uint64(0), text('')]), 9), 'failure 1 unrecognized schema version'],
    ];
    for (const [bytes, answer] of cases) {
      client.send(bytes);
      t.equal(show(await client.next()), answer);
    }
  },
);

t.test('names that cannot be replicated are refused, all others are opaque', async (t) => {
  const harness = new Harness();
  for (const name of ['', ':memory:']) {
    const client = harness.connect();
    client.send(request.open(name));
    t.match(show(await client.next()), /^failure 14 a database needs a name/);
    client.send(request.open('usable'));
    t.equal(show(await client.next()), 'database');
  }
  for (const name of ['../x', 'a-wal', 'a-journal', 'file:x?mode=memory', 'λ', 'n'.repeat(504)]) {
    const client = await harness.open(name);
    t.equal(await client.exec('CREATE TABLE t(a)'), 'result 0 0', name);
  }
});

t.test('statement ids: the lowest free one is given, a freed one is unknown', async (t) => {
  const client = await new Harness({ limits: { maxStatementsPerSession: 3 } }).open();
  const prepare = async (sql: string) => {
    client.send(request.prepare(sql));
    return show(await client.next());
  };
  t.equal(await prepare('SELECT 1'), 'statement 0 0');
  t.equal(await prepare('SELECT ?5'), 'statement 1 5');
  t.equal(await prepare('garbage'), 'failure 1 near "garbage": syntax error');
  t.equal(await prepare('SELECT 3'), 'statement 2 0');
  t.equal(await prepare('SELECT 4'), 'failure 7 too many prepared statements on this connection');
  for (const id of [0, 1]) {
    client.send(request.finalize(id));
    t.equal(show(await client.next()), 'empty');
  }
  for (const gone of [request.exec(1), request.query(0), request.finalize(1), request.exec(99)]) {
    client.send(gone);
    t.equal(show(await client.next()), 'failure 12 no statement with the given id');
  }
  t.equal(await prepare('SELECT 5'), 'statement 0 0');
  t.equal(await prepare('SELECT 6'), 'statement 1 0');
  client.send(frame(7, uint32(1, 0)));
  t.equal(show(await client.next()), 'failure 12 no database opened');
});

t.test('300 parameters need schema 1', async (t) => {
  const client = await new Harness().open();
  const values = Array.from({ length: 300 }, (_, i) => i);
  const sql = `SELECT ${values.map(() => '?').join('+')}`;
  const body = Buffer.concat([uint64(0), text(sql), parameters(values, 1)]);
  client.send(frame(9, body, 1));
  t.equal(await client.rows(), String((299 * 300) / 2));
});

t.test('parameters of several statements are used up from left to right', async (t) => {
  const client = await new Harness().open();
  await client.exec('CREATE TABLE t(a,b)');
  t.equal(
    await client.exec('INSERT INTO t VALUES(?,?); INSERT INTO t VALUES(?2,?1)', 1, 2, 3),
    'result 2 1',
  );
  t.equal(await client.query('SELECT * FROM t'), '1|2 null|3');
});

t.test('in one EXEC_SQL a read sees what the statements before it wrote', async (t) => {
  const client = await new Harness().open();
  t.equal(
    await client.exec('CREATE TABLE t(a); INSERT INTO t VALUES(1); SELECT a FROM t WHERE a = 2'),
    'result 1 1',
  );
  t.match(
    await client.exec('INSERT INTO t VALUES(2); SELECT a FROM t WHERE a = 2'),
    /failure 1 rows/,
  );
});

t.test('a long text of statements lets others have their turn', async (t) => {
  const harness = new Harness();
  const client = await harness.open();
  let turns = 0;
  const { clock } = harness;
  const now = clock.now.bind(clock);
  let passedMs = 0;
  // Each look at the clock takes a millisecond.
  clock.now = () => (now() + passedMs++) as ReturnType<typeof now>;
  const nextTurn = clock.nextTurn.bind(clock);
  clock.nextTurn = (run) => {
    turns++;
    nextTurn(run);
  };
  t.match(await client.exec('SELECT 1 WHERE 0;'.repeat(100)), /^result/);
  t.ok(turns > 10);
});

t.test('pipelined requests are answered in order, and together in one write', async (t) => {
  const client = await new Harness().open();
  const before = client.writes;
  client.send(
    request.client(),
    request.prepare('SELECT 1'),
    request.query(0),
    request.finalize(0),
    request.interrupt(),
  );
  t.equal(client.writes, before + 1);
  t.equal(client.messages.length, 5);
  const kinds: string[] = [];
  for (let i = 0; i < 5; i++) kinds.push(show(await client.next()));
  t.strictSame(kinds, ['welcome', 'statement 0 0', 'rows 1 done', 'empty', 'empty']);
});

t.test('a plain read is answered before `receive` returns', async (t) => {
  const client = await new Harness().open();
  client.send(request.querySql('SELECT 1'));
  t.equal(client.messages.length, 1);
});

t.test(
  'no write is answered before it is committed, and later requests wait behind it',
  async (t) => {
    const harness = new Harness();
    const client = await harness.open();
    await client.exec('CREATE TABLE t(a UNIQUE)');
    harness.consensus.committing = false;
    client.send(request.execSql('INSERT INTO t VALUES (1)'), request.client());
    await harness.settle();
    t.equal(client.messages.length, 0);
    harness.consensus.commit();
    t.equal(client.messages.length, 2);
  },
);

t.test('a failure that rests on an uncommitted row waits for it, too', async (t) => {
  const harness = new Harness();
  const [a, b] = [await harness.open(), await harness.open()];
  await a.exec('CREATE TABLE t(a UNIQUE)');
  harness.consensus.committing = false;
  a.send(request.execSql('INSERT INTO t VALUES (1)'));
  b.send(request.execSql('INSERT INTO t VALUES (1)'));
  await harness.settle();
  t.equal(b.messages.length, 0);
  harness.consensus.commit();
  t.equal(show(await a.next()), 'result 1 1');
  t.equal(show(await b.next()), 'failure 2067 UNIQUE constraint failed: t.a');
});

t.test('PREPARE waits for the schema that it was compiled against', async (t) => {
  const harness = new Harness();
  const [a, b] = [await harness.open(), await harness.open()];
  harness.consensus.committing = false;
  a.send(request.execSql('CREATE TABLE t(a)'));
  b.send(request.prepare('SELECT a FROM t WHERE a = ?'));
  await harness.settle();
  t.equal(b.messages.length, 0);
  harness.consensus.commit();
  t.equal(show(await b.next()), 'statement 0 1');
});

t.test(
  'the next writer starts before the last one is committed; a plain read does not see it',
  async (t) => {
    const harness = new Harness();
    const clients = await Promise.all([1, 2, 3].map(() => harness.open()));
    await clients[0]?.exec('CREATE TABLE t(a)');
    harness.consensus.committing = false;
    for (const client of clients)
      client.send(request.execSql('INSERT INTO t SELECT count(*) FROM t'));
    t.equal(harness.consensus.waiting.length, 3);
    const reader = await harness.open();
    t.equal(await reader.query('SELECT count(*) FROM t'), '0');
    harness.consensus.commit();
    t.equal(await reader.query('SELECT group_concat(a) FROM t'), '0,1,2');
  },
);

t.test('without a lease a read waits for a proof of leadership that began after it', async (t) => {
  const harness = new Harness();
  const [a, b, c] = [await harness.open(), await harness.open(), await harness.open()];
  harness.consensus.lease = false;
  a.send(request.querySql('SELECT 1'));
  b.send(request.querySql('SELECT 2'));
  c.send(request.querySql('SELECT 3'));
  await harness.settle();
  // The first asks at once; those that come meanwhile share the next round.
  t.equal(harness.consensus.confirmations.length, 1);
  harness.consensus.confirm();
  await harness.settle();
  t.equal(a.messages.length, 1);
  t.equal(b.messages.length, 0);
  t.equal(harness.consensus.confirmations.length, 1);
  harness.consensus.confirm();
  t.equal(await b.rows(), '2');
  t.equal(await c.rows(), '3');
});

t.test(
  'without a lease, what a write tells without a commit of its own needs a proof as well',
  async (t) => {
    const harness = new Harness();
    const client = await harness.open();
    await client.exec('CREATE TABLE t(a UNIQUE)');
    harness.consensus.lease = false;
    t.equal(await client.exec('INSERT INTO t VALUES (1)'), 'result 1 1', 'its commit is the proof');
    for (const sql of ['UPDATE t SET a = 2 WHERE a = 3', 'INSERT INTO t VALUES (1)', 'nonsense']) {
      client.send(request.execSql(sql));
      await harness.settle();
      t.equal(client.messages.length, 0, sql);
      harness.consensus.confirm();
      t.match(show(await client.next()), /result|failure/, sql);
    }
  },
);

t.test('a refused proof of leadership fails the read', async (t) => {
  const harness = new Harness();
  const client = await harness.open();
  harness.consensus.lease = false;
  client.send(request.querySql('SELECT 1'));
  await harness.settle();
  harness.consensus.confirm('notLeader');
  t.equal(await client.rows(), 'failure 10250 not leader');
});

t.test('reading stops while whole requests wait, not in the middle of a long one', async (t) => {
  const harness = new Harness({ limits: { maxQueuedRequestBytes: 1000 } });
  const client = await harness.open();
  await client.exec('CREATE TABLE t(a)');
  harness.consensus.committing = false;
  client.send(request.execSql('INSERT INTO t VALUES (1)'));
  const long = request.querySql('SELECT length(?)', ['x'.repeat(5000)]);
  client.send(long.subarray(0, 3000));
  t.ok(client.reading);
  client.send(long.subarray(3000));
  t.notOk(client.reading);
  harness.consensus.commit();
  t.equal(show(await client.next()), 'result 1 1');
  t.equal(await client.rows(), '5000');
  t.ok(client.reading);
});

t.test('a client that does not read its answers gets no more of them until it does', async (t) => {
  const harness = new Harness({ limits: { outputHighWaterBytes: 20_000 } });
  const client = await harness.open();
  client.stalled = true;
  const many = Array.from({ length: 100 }, () => request.querySql('SELECT zeroblob(1000)'));
  client.send(...many);
  await harness.settle();
  t.ok(client.bufferedBytes > 20_000 && client.bufferedBytes < 40_000);
  client.drain();
  await harness.settle();
  t.equal(client.messages.length, 100);
});

t.test('very many requests in one piece let others have their turn', async (t) => {
  const harness = new Harness();
  const client = await harness.open();
  client.send(...Array.from({ length: 300 }, () => request.client()));
  t.equal(client.messages.length, 128);
  await harness.settle();
  t.equal(client.messages.length, 300);
});

t.test('every request is told to observers', async (t) => {
  const seen: string[] = [];
  const harness = new Harness();
  channels.request.subscribe(({ kind, failed }) => seen.push(`${kind} ${failed}`));
  const client = await harness.open();
  await client.exec('CREATE TABLE t(a)');
  await client.exec('nonsense');
  t.strictSame(seen, ['open false', 'execSql false', 'execSql true']);
});
