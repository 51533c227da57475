import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as dial, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { Cluster } from '../../src/client/cluster.ts';
import { connect } from '../../src/client/index.ts';
import { askControl } from '../../src/server/control.ts';
import { daemonFor, startDaemon, temporaryDirectory } from '../support/daemon.ts';
import { freePort, type ServerProcess, startServer } from '../support/server-process.ts';
import { handshake, request, WireConnection } from '../support/wire.ts';

async function connected(port: number): Promise<Socket> {
  const socket = dial(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

t.test('connections beyond the limit are closed at once, the others go on', async (t) => {
  const daemon = await daemonFor(t, ['--max-connections', '3']);
  const database = await connect({ servers: [daemon.address], database: 'app', connections: 1 });
  t.teardown(() => database.close());
  const others = await Promise.all([connected(daemon.port), connected(daemon.port)]);
  const refused = await connected(daemon.port);

  await once(refused.resume(), 'close');
  t.match(await database.query('SELECT 1 AS one').all(), [{ one: 1 }]);
  for (const socket of others) t.notOk(socket.destroyed);
  for (const socket of others) socket.destroy();
});

t.test('INTERRUPT and hanging up reach a statement that keeps the event loop busy', async (t) => {
  const daemon = await daemonFor(t);
  const endless =
    'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n';
  const client = await WireConnection.connect(daemon.port);
  client.send(Buffer.concat([handshake, request.open('app')]));
  await client.receive();
  client.send(request.querySql(endless));
  // Behind the query in the same stream: it is read when SQLite lets the session look.
  client.send(request.interrupt());
  const answer = await client.receive();
  t.equal(answer.kind === 'message' && answer.bytes[4], 8, 'EMPTY');
  client.send(request.querySql(endless));
  client.destroy();
  const database = await connect({ servers: [daemon.address], database: 'app', connections: 1 });
  t.teardown(() => database.close());
  t.match(await database.query('SELECT 1 AS one').all(), [{ one: 1 }]);
});

t.test('a slow statement is one line of the log, without parameters', async (t) => {
  const daemon = await daemonFor(t, ['--slow-statement', '1']);
  const database = await connect({ servers: [daemon.address], database: 'app', connections: 1 });
  t.teardown(() => database.close());
  const sql =
    'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT 100000) SELECT count(*), ? FROM n';
  await database.query(sql, ['secret']).all();
  while (!daemon.log().includes('slow statement')) await setImmediate();
  const lines = daemon.log().split('\n');
  const told = lines.filter((line) => line.includes('count(*)'));
  t.equal(told.length, 1);
  const line = JSON.parse(told[0] ?? '');
  t.match(line, { msg: 'slow statement', database: 'app', rows: 1, waitingMs: 0, sql });
  t.ok(line.durationMs >= 1);
  t.notMatch(daemon.log(), 'secret');
});

t.test('a server can live on an abstract unix socket', async (t) => {
  const directory = await temporaryDirectory(t);
  const name = `@dqlited-test-${process.pid}`;
  const daemon = await startDaemon({ directory, flags: ['--address', name] });
  t.teardown(() => daemon.kill());
  const database = await connect({ servers: [name], database: 'app' });
  t.teardown(() => database.close());

  t.match(await database.query('SELECT 1 AS one').all(), [{ one: 1 }]);
  t.equal(await new Cluster([name]).leader(), name);
});

t.test('a stopping server answers what is under way and leaves a closed log', async (t) => {
  const directory = await temporaryDirectory(t);
  const daemon = await startDaemon({ directory });
  const database = await connect({ servers: [daemon.address], database: 'app' });
  t.teardown(() => database.close());
  await database.exec('CREATE TABLE a (v)');
  const writes = Array.from({ length: 50 }, (_, i) =>
    database.exec('INSERT INTO a VALUES (?)', [i], { timeoutMs: 2000 }).then(
      () => true,
      () => false,
    ),
  );
  const stopped = daemon.stop();
  const acknowledged = (await Promise.all(writes)).filter(Boolean).length;

  t.equal(await stopped, 0);
  t.strictSame(
    readdirSync(directory).filter((name) => /^open-|control/.test(name)),
    [],
  );
  const again = await startDaemon({ directory, port: daemon.port });
  t.teardown(() => again.kill());
  const row = await database.query('SELECT count(*) AS c FROM a').first();
  t.ok(Number(row?.c) >= acknowledged, `${row?.c} rows, ${acknowledged} acknowledged`);
});

t.test('two servers in one data directory: the second says so and ends', async (t) => {
  const directory = await temporaryDirectory(t);
  const daemon = await startDaemon({ directory });
  t.teardown(() => daemon.kill());

  await t.rejects(startDaemon({ directory }), { message: /dqlited: .*(in use|uses)[^\n]*\n$/ });
});

t.test('the service manager hears of readiness, life and the end', async (t) => {
  const directory = await temporaryDirectory(t);
  const told = join(directory, 'told');
  const tools = join(directory, 'tools');
  mkdirSync(tools);
  writeFileSync(told, '');
  const untilTold = async (word: string): Promise<void> => {
    while (!readFileSync(told, 'utf8').includes(word)) await setImmediate();
  };
  writeFileSync(join(tools, 'systemd-notify'), `#!/bin/sh\necho "$@" >> ${told}\n`, {
    mode: 0o755,
  });
  const port = await freePort();
  const program = join(import.meta.dirname, '../../bin/dqlited');
  const address = `127.0.0.1:${port}`;
  const daemon = await startServer({
    command: '/usr/bin/env',
    args: [
      `PATH=${tools}:${dirname(process.execPath)}`,
      'node',
      program,
      'start',
      '--address',
      address,
      '--data-dir',
      join(directory, 'data'),
    ],
    port,
    ready: 'ready',
    environment: { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '100000' },
  });
  t.teardown(() => daemon.kill());
  await untilTold('WATCHDOG=1');

  t.equal(await daemon.stop(), 0);
  await untilTold('STOPPING=1');
  t.match(readFileSync(told, 'utf8'), `--ready --status=serving on ${address}\n`);
});

t.test('an address that is taken is one line with the next step', async (t) => {
  const daemon = await daemonFor(t);
  const directory = await temporaryDirectory(t);

  const message = new RegExp(`cannot listen on ${daemon.address}: another process listens there`);
  await t.rejects(startDaemon({ directory, port: daemon.port }), { message });
});

t.test('three servers: two join, get roles, and survive the loss of the leader', async (t) => {
  const [first, second, third] = await cluster(t);
  const servers = [first.address, second.address, third.address];
  const members = new Cluster([first.address]);
  while ((await members.members()).members.some(({ role }) => role !== 'voter')) {
    await setImmediate();
  }
  const database = await connect({ servers, database: 'app' });
  t.teardown(() => database.close());
  await database.exec('CREATE TABLE a (v); INSERT INTO a VALUES (1)');

  await first.kill();
  await database.exec('INSERT INTO a VALUES (2)');
  t.strictSame(await database.query('SELECT v FROM a').all(), [{ v: 1 }, { v: 2 }]);

  const leader = await new Cluster(servers).leader();
  const stopping = leader === second.address ? second : third;
  const other = stopping === second ? third : second;
  const status = await askControl(other.directory, 'status', 5000);
  t.match(status, { role: 'voter', state: 'follower', leader: { address: leader } });
  t.equal(status.servers.length, 3);
  await stopping.kill();
  const alone = await untilLeaderless(other.directory);
  t.match(
    alone.noLeaderBecause,
    /an election takes 2 of 3 voters and this server reaches 1: start /,
  );
});

type Member = ServerProcess & { readonly directory: string };

/** Three servers of one cluster. */
async function cluster(
  t: Parameters<typeof temporaryDirectory>[0],
): Promise<[Member, Member, Member]> {
  const base = await temporaryDirectory(t);
  const start = async (number: number, flags: readonly string[]): Promise<Member> => {
    const directory = join(base, String(number));
    const all = ['--network-latency', '20', ...flags];
    const daemon = await startDaemon({ directory, id: number, flags: all });
    t.teardown(() => daemon.kill());
    return Object.assign(daemon, { directory });
  };
  const first = await start(1, []);
  const join1 = ['--join', first.address];
  return [first, await start(2, join1), await start(3, join1)];
}

async function untilLeaderless(
  directory: string,
): Promise<{ noLeaderBecause: string | undefined }> {
  for (;;) {
    const status = await askControl(directory, 'status', 5000);
    if (status.leader === undefined && status.noLeaderBecause?.includes('start ')) return status;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
