import t, { type Test } from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { askControl } from '../../src/server/control.ts';
import { cNodeCommand, cNodeMissing } from '../interop/c-node.ts';
import { daemonCommand, daemonFor, temporaryDirectory } from '../support/daemon.ts';
import {
  freePort,
  lastingPort,
  type ServerCommand,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts';
import { numberSetting } from '../support/settings.ts';
import { SqlConnection } from '../support/sql-connection.ts';
import { killLoop } from './kill-loop.ts';

const rounds = numberSetting('KILL_ROUNDS', 4);
const seed = numberSetting('KILL_SEED', 1);

const timeoutMs = 120_000 + rounds * 30_000;
t.setTimeout(timeoutMs + 120_000);

// Snapshots often, so that kills fall into them too.
const flags = ['--snapshot-threshold', '64', '--snapshot-trailing', '64'];

t.test(
  'what was acknowledged is there once after kill -9, without repair',
  { timeout: timeoutMs },
  async (t) => {
    const directory = await temporaryDirectory(t);
    const command = daemonCommand({ directory, port: await freePort(), flags });
    const report = await killLoop([command], rounds, seededRandom(seed));
    t.comment(`KILL_SEED=${seed} KILL_ROUNDS=${rounds}: ${JSON.stringify(report)}`);
    t.same(report.broken, []);
    t.ok(report.acknowledged > 0);
  },
);

t.test(
  'the same of three servers, of which one, the leader, two or all are killed',
  { timeout: timeoutMs },
  async (t) => {
    const commands = await threeServers(t);
    const report = await killLoop(commands, rounds, seededRandom(seed));
    t.comment(`three, KILL_SEED=${seed} KILL_ROUNDS=${rounds}: ${JSON.stringify(report)}`);
    t.same(report.broken, []);
    t.ok(report.acknowledged > 0);
  },
);

/** A cluster of three voters that has been stopped: election timeouts are short, so that rounds are. */
async function threeServers(t: Test): Promise<ServerCommand[]> {
  const commands: ServerCommand[] = [];
  const running: ServerProcess[] = [];
  const directories: string[] = [];
  for (let id = 1; id <= 3; id++) {
    const [directory, port] = [await temporaryDirectory(t), await lastingPort()];
    const joining = id === 1 ? [] : ['--join', `127.0.0.1:${commands[0]?.port}`];
    const all = [...flags, '--network-latency', '30', ...joining];
    const command = daemonCommand({ directory, id, port, flags: all });
    running.push(await startServer(command));
    commands.push(command);
    directories.push(directory);
  }
  for (let voters = 0; voters < 3; ) {
    const { servers } = await askControl(directories[0] ?? '', 'status', 10_000);
    voters = servers.filter(({ role }) => role === 'voter').length;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (const server of running) await server.stop();
  return commands;
}

// The loop itself is proven by a server that nobody here wrote.
t.test('the same loop on the C library', { skip: cNodeMissing() ?? false }, async (t) => {
  const directory = await temporaryDirectory(t);
  const options = ['threshold=64', 'trailing=64'];
  const command = cNodeCommand({ directory, port: await freePort(), options });
  const report = await killLoop([command], 2, seededRandom(seed));
  t.same(report.broken, []);
  t.ok(report.acknowledged > 0);
});

t.test('sixty-four connections insert at once and none finds the database locked', async (t) => {
  const { port } = await daemonFor(t);
  const setUp = await SqlConnection.open(port, 'many');
  await setUp.exec('CREATE TABLE t (writer INTEGER, n INTEGER)');

  const one = await insertRate(port, 1, 400);
  const many = await insertRate(port, 64, 40);

  t.same(await setUp.query('SELECT count(*) FROM t'), [[400n + 64n * 40n]]);
  t.comment(
    `${Math.round(one)} rows/s on one connection, ${Math.round(many)} on 64: ${(many / one).toFixed(1)} times`,
  );
  setUp.close();
});

/** Rows a second of `connections` that insert `rows` each, one request at a time. */
async function insertRate(port: number, connections: number, rows: number): Promise<number> {
  const opened: SqlConnection[] = [];
  for (let i = 0; i < connections; i++) opened.push(await SqlConnection.open(port, 'many'));
  const begin = performance.now();
  await Promise.all(
    opened.map(async (connection, writer) => {
      for (let n = 0; n < rows; n++) {
        await connection.exec('INSERT INTO t VALUES (?, ?)', [writer, n]);
      }
    }),
  );
  const seconds = (performance.now() - begin) / 1000;
  for (const connection of opened) connection.close();
  return (connections * rows) / seconds;
}
