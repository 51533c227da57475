import t, { type Test } from 'tap';
import { askControl, type Status } from '../../src/server/control.ts';
import { startDaemon, temporaryDirectory } from '../support/daemon.ts';
import { InjectedDaemon, noStrace } from '../support/injected-daemon.ts';
import { lastingPort } from '../support/server-process.ts';
import { NoAnswer, SqlConnection, WireFailure } from '../support/sql-connection.ts';

t.setTimeout(240_000);

/** Each durable write of the log takes 20 ms longer. */
const delayed = 'pwritev2:delay_enter=20000';
const WRITERS = 8;

interface Server {
  readonly id: bigint;
  readonly port: number;
  readonly directory: string;
}

/** Three servers, all voters; the first leads, and the disk of one of them is slow. */
async function threeServers(t: Test, slow: number, flags: readonly string[]): Promise<Server[]> {
  const servers: Server[] = [];
  for (let id = 1; id <= 3; id++) {
    const [directory, port] = [await temporaryDirectory(t), await lastingPort()];
    const first = servers[0];
    const joining = first === undefined ? [] : ['--join', `127.0.0.1:${first.port}`];
    const all = [...flags, '--disk-backend', id === slow ? 'thread' : 'auto', ...joining];
    const options = { directory, port, id, flags: all };
    if (id === slow) {
      const daemon = new InjectedDaemon(options, delayed);
      t.teardown(() => daemon.kill());
      await Promise.race([daemon.ready, daemon.ended]);
    } else {
      const daemon = await startDaemon(options);
      t.teardown(() => daemon.kill());
    }
    servers.push({ id: BigInt(id), port, directory });
  }
  await until('three servers vote', async () => {
    const { servers: members } = await statusOf(servers[0] as Server);
    return members.filter(({ role }) => role === 'voter').length === 3;
  });
  return servers;
}

function statusOf({ directory }: Server): Promise<Status> {
  return askControl(directory, 'status', 10_000);
}

/** The server that leads and serves. */
async function leaderOf(servers: readonly Server[]): Promise<Server | undefined> {
  for (const server of servers) {
    const { ready, state } = await statusOf(server);
    if (state === 'leader' && ready) return server;
  }
  return undefined;
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`in vain waited until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Rows that were acknowledged, and those of which nothing was heard. */
interface Rows {
  acknowledged: number;
  unknown: number;
}

/** Inserts on several connections, wherever the leader is, while `goOn` says so. */
async function load(servers: readonly Server[], rows: Rows, goOn: () => boolean): Promise<void> {
  const writer = async (): Promise<void> => {
    while (goOn()) {
      const leader = await leaderOf(servers);
      if (leader === undefined) continue;
      let sent = false;
      try {
        const connection = await SqlConnection.open(leader.port, 'app');
        while (goOn()) {
          sent = true;
          await connection.exec('INSERT INTO t (body) VALUES (randomblob(500))');
          sent = false;
          rows.acknowledged++;
        }
        connection.close();
      } catch (error) {
        if (!(error instanceof WireFailure || error instanceof NoAnswer)) throw error;
        // 10250: it was certainly not executed.
        if (sent && !(error instanceof WireFailure && error.code === 10250)) rows.unknown++;
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

/** Rows a second over about so long. */
async function rate(servers: readonly Server[], rows: Rows, ms: number): Promise<number> {
  const [before, startedAt] = [rows.acknowledged, performance.now()];
  await load(servers, rows, () => performance.now() < startedAt + ms);
  return ((rows.acknowledged - before) * 1000) / (performance.now() - startedAt);
}

async function createTable(server: Server): Promise<void> {
  const connection = await SqlConnection.open(server.port, 'app');
  await connection.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)');
  connection.close();
}

async function countRows(servers: readonly Server[]): Promise<number> {
  const leader = await leaderOf(servers);
  if (leader === undefined) throw new Error('nobody leads');
  const connection = await SqlConnection.open(leader.port, 'app');
  const rows = await connection.query('SELECT count(*) FROM t');
  connection.close();
  return Number(rows[0]?.[0]);
}

t.test('a leader with a slow disk hands leadership over', { skip: noStrace }, async (t) => {
  const servers = await threeServers(t, 1, ['--slow-disk-handover', '1000']);
  const [slow] = servers as [Server];
  await createTable(slow);
  const rows: Rows = { acknowledged: 0, unknown: 0 };
  let moved = false;
  const watching = until('another server leads', async () => {
    const leader = await leaderOf(servers);
    return leader !== undefined && leader.id !== slow.id;
  }).finally(() => {
    moved = true;
  });
  await Promise.all([watching, load(servers, rows, () => !moved)]);
  const { id } = (await leaderOf(servers)) as Server;
  t.not(id, slow.id);

  const { term } = await statusOf(slow);
  const perSecond = await rate(servers, rows, 3000);
  t.match(await statusOf(slow), { term, leader: { id } }, 'and it stays there');
  const found = await countRows(servers);
  t.ok(found >= rows.acknowledged && found <= rows.acknowledged + rows.unknown, `${found} rows`);
  t.comment(`${JSON.stringify(rows)}; afterwards ${Math.round(perSecond)} rows/s`);
});

t.test('a follower with a slow disk holds nobody up', { skip: noStrace }, async (t) => {
  const rates: number[] = [];
  for (const slow of [0, 3]) {
    const servers = await threeServers(t, slow, []);
    const [leader] = servers as [Server];
    await createTable(leader);
    const rows: Rows = { acknowledged: 0, unknown: 0 };
    rates.push(await rate(servers, rows, 3000));
    t.match(await statusOf(leader), { state: 'leader' }, 'leadership stays');
    t.equal(await countRows(servers), rows.acknowledged);
    t.equal(rows.unknown, 0);
  }
  const [good = 0, withSlow = 0] = rates;
  t.comment(
    `${Math.round(good)} rows/s with three good disks, ${Math.round(withSlow)} with a slow follower: ${(withSlow / good).toFixed(2)} times`,
  );
});
