import { type AddressInfo, createServer, type Socket } from 'node:net';
import t from 'tap';
import { Cluster } from '../../src/client/cluster.ts';
import { dumpFiles } from '../../src/client/dump.ts';
import { ClientError, connect, type Database } from '../../src/client/index.ts';
import { daemonFor, startDaemon, temporaryDirectory } from '../support/daemon.ts';

/** The error of a promise that must not resolve. */
async function failure(promise: Promise<unknown>): Promise<ClientError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof ClientError) return error;
  throw new Error(`no ClientError but ${error}`);
}

t.test('one server', async (t) => {
  const daemon = await daemonFor(t);
  const database: Database = await connect({ servers: [daemon.address], database: 'app' });
  t.teardown(() => database.close());

  await t.test('exec tells the last rowid and the number of changed rows', async (t) => {
    await database.exec('CREATE TABLE n (id INTEGER PRIMARY KEY, v)');

    t.strictSame(await database.exec('INSERT INTO n (v) VALUES (?), (?)', [1, 2]), {
      lastInsertId: 2,
      rowsAffected: 2,
    });
    t.strictSame(await database.exec('INSERT INTO n (id) VALUES (?)', [2n ** 63n - 1n]), {
      lastInsertId: 2n ** 63n - 1n,
      rowsAffected: 1,
    });
    await database.exec('DELETE FROM n');
  });

  await t.test('every kind of value comes back as it was bound', async (t) => {
    await database.exec('CREATE TABLE v (i, f, t, b, n, d DATETIME, o BOOLEAN)');
    const date = new Date('2026-01-02T03:04:05.678Z');
    await database.exec('INSERT INTO v VALUES (?, ?, ?, ?, ?, ?, ?)', [
      -7,
      1.5,
      'ü\n',
      Buffer.from([0, 9]),
      null,
      date,
      true,
    ]);
    await database.exec('INSERT INTO v (i, d) VALUES (?, ?)', [2n ** 60n + 1n, '2026-01-02']);

    const [first, second] = await database.query('SELECT * FROM v ORDER BY rowid').all();

    t.match(first, { i: -7, f: 1.5, t: 'ü\n', n: null, d: date, o: true });
    t.ok(Buffer.from([0, 9]).equals(first?.b as Uint8Array));
    t.match(second, { i: 2n ** 60n + 1n, t: null, d: new Date('2026-01-02T00:00:00Z'), o: false });
  });

  await t.test(
    'integers are numbers where that is exact, or all bigints when asked for',
    async (t) => {
      const exact = await connect({
        servers: [daemon.address],
        database: 'app',
        integers: 'bigint',
      });
      t.teardown(() => exact.close());
      const sql = 'SELECT 9007199254740991 AS a, 9007199254740992 AS b';

      t.strictSame(await database.query(sql).first(), { a: 2 ** 53 - 1, b: 2n ** 53n });
      t.strictSame(await exact.query(sql).first(), { a: 2n ** 53n - 1n, b: 2n ** 53n });
    },
  );

  await t.test('300 parameters and 3000 rows make the round trip', async (t) => {
    const numbers = Array.from({ length: 300 }, (_, i) => i);
    const marks = numbers.map(() => '(?)').join();

    const rows = await database.query(`VALUES ${marks}`, numbers).all();
    t.strictSame(
      rows.map(({ column1 }) => column1),
      numbers,
    );
    const series =
      'WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 3000) SELECT x FROM s';
    let sum = 0;
    for await (const [x] of database.query(series).values()) sum += Number(x);
    t.equal(sum, (3000 * 3001) / 2);
  });

  await t.test('leaving the rows early ends the query, and the connection goes on', async (t) => {
    const endless =
      'WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s) SELECT x FROM s';
    for await (const { x } of database.query(endless)) if (Number(x) > 2000) break;

    t.strictSame(await database.query('SELECT 1 AS one').all(), [{ one: 1 }]);
  });

  await t.test('a deadline or a signal ends an endless query', async (t) => {
    const endless =
      'WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s) SELECT x FROM s';
    const controller = new AbortController();
    const aborted = (async () => {
      for await (const { x } of database.query(endless, [], { signal: controller.signal })) {
        if (x === 1) controller.abort();
      }
    })();

    t.match(await failure(aborted), { code: 'aborted' });
    const late = (async () => {
      for await (const _ of database.query(endless, [], { timeoutMs: 100 }));
    })();
    t.match(await failure(late), { code: 'timeout' });
    t.strictSame(await database.query('SELECT 1 AS one').all(), [{ one: 1 }]);
  });

  await t.test(
    'prepared statements are compiled once and survive more than a session keeps',
    async (t) => {
      const insert = database.prepare('INSERT INTO n (v) VALUES (?)');
      for (let i = 0; i < 5; i++) await insert.exec([i]);
      for (let i = 0; i < 100; i++) await database.prepare(`SELECT ${i}`).query().all();

      t.match(
        await database.prepare('SELECT count(*) AS c FROM n WHERE v < ?').query([3]).first(),
        { c: 3 },
      );
      t.match(await insert.exec([5]), { rowsAffected: 1 });
    },
  );

  await t.test(
    'a transaction commits what its function did, or nothing when it throws',
    async (t) => {
      await database.exec('CREATE TABLE x (v)');
      const result = await database.transaction(async (transaction) => {
        await transaction.exec('INSERT INTO x VALUES (1)');
        return transaction.query('SELECT count(*) AS c FROM x').first();
      });
      const broken = database.transaction(async (transaction) => {
        await transaction.exec('INSERT INTO x VALUES (2)');
        throw new Error('changed my mind');
      });

      t.strictSame(result, { c: 1 });
      await t.rejects(broken, { message: 'changed my mind' });
      t.match(await database.query('SELECT count(*) AS c FROM x').first(), { c: 1 });
    },
  );

  await t.test('transactions that run at once wait for each other and lose nothing', async (t) => {
    await database.exec('CREATE TABLE counter (v); INSERT INTO counter VALUES (0)');
    const add = () =>
      database.transaction(async (transaction) => {
        const row = await transaction.query('SELECT v FROM counter').first();
        await transaction.exec('UPDATE counter SET v = ?', [Number(row?.v) + 1]);
      });
    await Promise.all(Array.from({ length: 20 }, add));

    t.match(await database.query('SELECT v FROM counter').first(), { v: 20 });
  });

  await t.test('failures carry the code of SQLite', async (t) => {
    await database.exec('CREATE TABLE u (v UNIQUE); INSERT INTO u VALUES (1)');

    t.match(await failure(database.exec('INSERT INTO u VALUES (1)')), {
      code: 'refused',
      wire: 2067,
      retryable: false,
    });
    t.match(await failure(database.query('SELECT * FROM nope').all()), {
      code: 'refused',
      wire: 1,
      message: 'no such table: nope',
    });
    t.match(await failure(database.transaction((transaction) => transaction.exec('nonsense'))), {
      code: 'refused',
      wire: 1,
    });
  });

  await t.test(
    'the rows of one query and another statement do not wait for each other',
    async (t) => {
      let seen = 0;
      for await (const { v } of database.query('SELECT v FROM n WHERE v < 3 ORDER BY v')) {
        await database.exec('INSERT INTO x VALUES (?)', [v]);
        seen++;
      }

      t.equal(seen, 3);
    },
  );
});

t.test('a server that restarts is found again, and idle connections are replaced', async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await startDaemon({ directory });
  const database = await connect({ servers: [first.address], database: 'app' });
  t.teardown(() => database.close());
  await database.exec('CREATE TABLE a (v); INSERT INTO a VALUES (1)');
  await first.stop();

  const restarted = startDaemon({ directory, port: first.port });
  t.teardown(async () => (await restarted).kill());

  t.strictSame(await database.query('SELECT v FROM a').all(), [{ v: 1 }]);
});

t.test(
  'without a leader a call ends at its deadline and tells what each server answered',
  async (t) => {
    const silent = createServer(() => {}).listen(21490, '127.0.0.1');
    t.teardown(() => silent.close());
    const calling = connect({
      servers: ['127.0.0.1:21490', '127.0.0.1:21491'],
      database: 'app',
      timeoutMs: 400,
    });

    const error = await failure(calling);
    t.match(error, { code: 'noLeader', retryable: true });
    t.match(error.message, /127\.0\.0\.1:21490: no answer/);
    t.match(error.message, /127\.0\.0\.1:21491: nothing listens on/);
    t.match(await failure(new Cluster(['nonsense']).leader(AbortSignal.timeout(100))), {
      code: 'noLeader',
    });
  },
);

t.test('a server that sends nonsense is a protocol error, not a crash', async (t) => {
  const nonsense = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(Buffer.alloc(64, 0xff));
  }).listen(21492, '127.0.0.1');
  t.teardown(() => nonsense.close());

  const error = await failure(
    connect({ servers: ['127.0.0.1:21492'], database: 'app', timeoutMs: 300 }),
  );
  t.match(error.message, /127\.0\.0\.1:21492 (sent|closed)/);
});

t.test('a server that goes in the middle of a dump is told like any lost connection', async (t) => {
  let peer: Socket | undefined;
  const server = createServer((socket) => {
    peer = socket;
    // FILES of two files: the first is called "app" and shall have 4096 bytes.
    const begin = Buffer.alloc(32);
    begin.set([100, 0, 0, 0, 9], 0);
    begin[8] = 2;
    begin.write('app', 16);
    begin[25] = 16;
    socket.on('data', () => socket.write(begin));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;

  const { value: file } = await dumpFiles(`127.0.0.1:${port}`, 'app').next();
  t.match(file, { name: 'app', sizeBytes: 4096 });
  const reading = failure(file?.chunks[Symbol.asyncIterator]().next());
  peer?.resetAndDestroy();

  t.match(await reading, { code: 'connection', message: /ECONNRESET/ });
});
