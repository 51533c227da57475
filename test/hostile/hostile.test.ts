import t from 'tap';
import { daemonFor, errorLines } from '../support/daemon.ts';
import { SqlConnection } from '../support/sql-connection.ts';
import { handshake, request, WireConnection } from '../support/wire.ts';
import { decodeRows } from '../support/wire-rows.ts';
import { stillServes } from './conversation.ts';
import { hostileInputs } from './inputs.ts';
import { sqlInputs } from './sql-inputs.ts';

t.setTimeout(300_000);

const series = (rows: number, size: number) =>
  `WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT ${rows}) SELECT x, zeroblob(${size}) FROM s`;
const endless =
  'WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s) SELECT count(*) FROM s';

t.test('after any of these inputs the next query works', async (t) => {
  const daemon = await daemonFor(t);
  for (const { name, send, answer } of [...hostileInputs, ...sqlInputs]) {
    const answered = await send(daemon.port).catch(String);
    if (typeof answer === 'string') t.equal(answered, answer, name);
    else t.match(answered, answer, name);
    await stillServes(daemon.port);
  }
  t.same(errorLines(daemon), [], 'no error was logged');
  t.equal(await daemon.stop(), 0, 'it stops in order');
});

t.test('after any of these clients the next query works', async (t) => {
  const daemon = await daemonFor(t);
  const { port } = daemon;

  await t.test('a thousand that leave at each byte of a session', async (t) => {
    const session = Buffer.concat([
      handshake,
      request.leader(),
      request.open('partial'),
      request.execSql('CREATE TABLE IF NOT EXISTS t (x)'),
      request.querySql('SELECT 1'),
    ]);
    for (let size = 0; size < session.length; size++) {
      const wire = await WireConnection.connect(port);
      wire.send(session.subarray(0, size));
      if (size % 3 === 0) wire.socket.end();
      else if (size % 3 === 1) wire.socket.resetAndDestroy();
      else wire.destroy();
    }
    await stillServes(port);
    t.pass(`${session.length} connections`);
  });

  await t.test('one that sends a byte at a time', async (t) => {
    const wire = await WireConnection.connect(port);
    for (const byte of Buffer.concat([handshake, request.leader()])) {
      wire.send(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.equal((await wire.receive()).kind, 'message');
    wire.destroy();
  });

  await t.test('one that announces the largest message and sends nothing', async () => {
    const wires: WireConnection[] = [];
    for (let i = 0; i < 50; i++) {
      const wire = await WireConnection.connect(port);
      wire.send(Buffer.concat([handshake, Buffer.from('0000800008000000', 'hex')]));
      wires.push(wire);
    }
    await stillServes(port);
    for (const wire of wires) wire.destroy();
  });

  await t.test('one that sends ten thousand requests and reads nothing', async (t) => {
    const wire = await WireConnection.connect(port);
    wire.socket.pause();
    wire.send(Buffer.concat([handshake, request.open('flood')]));
    const before = daemon.residentBytes();
    for (let i = 0; i < 10_000; i++) wire.send(request.querySql(series(100, 1000)));
    await stillServes(port);
    t.ok(daemon.residentBytes() - before < 256 << 20, 'memory is bounded');
    wire.destroy();
    await stillServes(port);
  });

  await t.test('one that stops reading a long result while others write', async (t) => {
    const reader = await SqlConnection.open(port, 'stalled');
    await reader.exec('CREATE TABLE t (x)');
    reader.wire.socket.pause();
    reader.wire.send(request.querySql(series(100_000, 4000)));
    const before = daemon.residentBytes();
    const writer = await SqlConnection.open(port, 'stalled');
    for (let i = 0; i < 200; i++) await writer.exec('INSERT INTO t VALUES (?)', [i]);
    t.same(await writer.query('SELECT count(*) FROM t'), [[200n]]);
    t.ok(daemon.residentBytes() - before < 256 << 20, 'memory is bounded');
    writer.close();
    reader.close();
  });

  await t.test('one that interrupts: exactly one EMPTY for each INTERRUPT', async (t) => {
    const client = await SqlConnection.open(port, 'interrupted');
    for (let i = 0; i < 20; i++) {
      client.wire.send(Buffer.concat([request.querySql(series(2000, 100)), request.interrupt()]));
      let last = await client.wire.receive();
      while (last.kind === 'message' && last.bytes[4] === 7) last = await client.wire.receive();
      t.equal(last.kind === 'message' && last.bytes[4], 8);
      t.same(await client.query('SELECT 1'), [[1n]]);
    }
    client.close();
  });

  await t.test('one that leaves in the middle of a transaction', async (t) => {
    for (const leave of ['destroy', 'reset'] as const) {
      const holder = await SqlConnection.open(port, 'held');
      await holder.exec('CREATE TABLE IF NOT EXISTS t (x)');
      await holder.exec('BEGIN IMMEDIATE');
      await holder.exec('INSERT INTO t VALUES (1)');
      if (leave === 'destroy') holder.close();
      else holder.wire.socket.resetAndDestroy();
      const next = await SqlConnection.open(port, 'held');
      await next.exec('INSERT INTO t VALUES (2)');
      t.same(await next.query('SELECT count(*) FROM t WHERE x = 1'), [[0n]]);
      next.close();
    }
  });

  await t.test('one that leaves while its rows are sent', async () => {
    for (let i = 0; i < 20; i++) {
      const client = await SqlConnection.open(port, 'gone');
      client.wire.send(request.querySql(series(100_000, 1000)));
      await client.wire.receive();
      client.close();
    }
    await stillServes(port);
  });

  await t.test('one that prepares and never finalizes', async (t) => {
    const client = await SqlConnection.open(port, 'prepared');
    let refusal = '';
    for (let i = 0; i < 10_050 && refusal === ''; i++) {
      await client.call(request.prepare(`SELECT ${i}`)).catch((error) => {
        refusal = String(error);
      });
    }
    t.match(refusal, /WireFailure/, 'the limit is told');
    t.same(await client.query('SELECT 1'), [[1n]], 'the connection goes on');
    client.close();
  });

  t.same(errorLines(daemon), [], 'no error was logged');
  t.equal(await daemon.stop(), 0, 'it stops in order');
});

t.test(
  'a statement without end is interrupted, others are served meanwhile or after',
  async (t) => {
    const daemon = await daemonFor(t, ['--statement-timeout', '500']);
    const client = await SqlConnection.open(daemon.port, 'endless');
    for (const sql of [endless, `CREATE TABLE t AS ${endless}`]) {
      const answer = await client.query(sql).catch(String);
      t.match(answer, /interrupted/);
      await stillServes(daemon.port);
    }
    client.close();
    t.equal(await daemon.stop(), 0);
  },
);

t.test('a result that is not read does not keep the daemon from stopping', async (t) => {
  const daemon = await daemonFor(t, ['--stop-timeout', '500']);
  const reader = await SqlConnection.open(daemon.port, 'stalled');
  reader.wire.socket.pause();
  reader.wire.send(request.querySql(series(100_000, 4000)));
  await stillServes(daemon.port);
  t.equal(await daemon.stop(), 0);
  reader.close();
});

t.test('a batch has at least one row, however long the column names', async (t) => {
  const daemon = await daemonFor(t);
  const client = await SqlConnection.open(daemon.port, 'names');
  const columns = Array.from({ length: 600 }, (_, i) => `x AS a_long_column_name_${i}`).join();
  client.wire.send(
    request.querySql(`WITH s(x) AS (VALUES (1), (2), (3)) SELECT ${columns} FROM s`),
  );
  const batches: [number, string][] = [];
  do {
    const { rows, marker } = decodeRows(await client.next());
    batches.push([rows.length, marker]);
  } while (batches.at(-1)?.[1] === 'part');
  t.ok(batches.every(([rows, marker]) => rows > 0 || marker === 'done'));
  t.equal(
    batches.reduce((sum, [rows]) => sum + rows, 0),
    3,
  );
  client.close();
});
