import t, { type Test } from 'tap';
import { Cluster } from '../../src/client/cluster.ts';
import { Connection } from '../../src/client/connection.ts';
import { connect, type Database } from '../../src/client/database.ts';
import { ClientError } from '../../src/client/errors.ts';
import { Session } from '../../src/client/session.ts';
import { allWell } from './acknowledgements.ts';
import { dumpHash } from './dump-hash.ts';
import { Load } from './load.ts';
import { type Host, namespacesMissing, SeparateHosts } from './namespaces.ts';
import { until } from './test-cluster.ts';

const skip = namespacesMissing() ?? false;

t.test('five servers, the leader cut off', { skip }, async (t) => {
  const flags = ['--voters', '5', '--role-interval', '200'];
  const hosts = await SeparateHosts.start(t, 5, flags);
  const cluster = new Cluster(hosts.addresses);
  await until(
    async () => (await cluster.members()).members.every(({ role }) => role === 'voter'),
    () => 'five voters',
  );
  const database = await connect({ servers: hosts.addresses, database: 'app' });
  t.teardown(() => database.close());
  await database.exec('CREATE TABLE newest (value); INSERT INTO newest VALUES (0)');

  await t.test('alone: it answers nothing stale, and nothing acknowledged is lost', (t) =>
    partition(t, hosts, 0),
  );
  await t.test('with one of the others: likewise', (t) => partition(t, hosts, 1));
});

/** Cuts the leader and `companions` more off, writes on both sides, heals, and compares. */
async function partition(t: Test, hosts: SeparateHosts, companions: number): Promise<void> {
  const leader = await leaderOf(hosts, hosts.addresses);
  const others = hosts.hosts.filter((host) => host !== leader);
  const minority = [leader, ...others.slice(0, companions)];
  const majority = others.slice(companions).map(({ address }) => address);
  const table = `load${companions}`;
  const load = await Load.start(hosts.addresses, 4, table);
  t.teardown(() => load.close());
  const writer = await connect({ servers: majority, database: 'app', timeoutMs: 60_000 });
  t.teardown(() => writer.close());
  const first = 1000 * companions + 1;
  await writeNewest(writer, first);
  const readings = readConstantly(leader, first);
  t.teardown(() => readings.stop());
  await load.more(20);
  await until(
    () => readings.answers > 20,
    () => 'reads before the cut',
  );

  const cutAt = performance.now();
  hosts.cut(minority);
  let successor = leader;
  await until(
    async () => {
      successor = await leaderOf(hosts, majority);
      return successor !== leader;
    },
    () => 'a leader of the majority',
  );
  const electedAfterMs = Math.round(performance.now() - cutAt);
  // From now on the truth is on the other side: what the old leader reads must not be older.
  for (let value = first + 1; value < first + 30; value++) {
    await writeNewest(writer, value);
    readings.acknowledged = value;
  }
  const before = readings.answers;
  await until(
    () => readings.refusals > 3,
    () => 'the old leader to refuse reads',
  );
  t.comment(
    `a new leader ${electedAfterMs} ms after the cut; reads on the old one: ${before} answered, ${readings.refusals} refused or unanswered`,
  );

  hosts.heal(minority);
  await until(
    async () => (await hosts.status(leader)).leader?.address === successor.address,
    () => 'the old leader to follow',
  );
  await load.more(20);
  await load.stop();
  await readings.stop();
  t.strictSame(readings.stale, [], 'no stale read');
  t.strictSame(await load.check(), allWell, 'no lost write');
  await until(
    async () => {
      const all = await Promise.all(hosts.hosts.map((host) => hosts.status(host)));
      const last = Math.max(...all.map(({ lastIndex }) => lastIndex));
      return all.every(({ appliedIndex }) => appliedIndex === last);
    },
    () => 'all servers to have applied the same',
  );
  const hashes = await Promise.all(hosts.addresses.map((address) => dumpHash(address)));
  t.equal(new Set(hashes).size, 1, 'the same bytes everywhere');
}

/**
 * Writes the newest value, once more when it is not known whether it was written: the writer's connection may still be
 * with the old leader, which takes the write and then finds that it leads no more.
 */
async function writeNewest(writer: Database, value: number): Promise<void> {
  for (;;) {
    try {
      await writer.exec('UPDATE newest SET value = ?', [value]);
      return;
    } catch (error) {
      if (!(error instanceof ClientError && error.code === 'leadershipLost')) throw error;
    }
  }
}

/** The leader that one of the servers at `addresses` follows. */
async function leaderOf(hosts: SeparateHosts, addresses: readonly string[]): Promise<Host> {
  for (;;) {
    for (const host of hosts.hosts.filter(({ address }) => addresses.includes(address))) {
      const { leader, ready, state } = await hosts.status(host);
      if (state === 'leader' && ready && leader !== undefined) return host;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Reads the newest value from one server over and over, and notes every answer that was too old when it was asked for. */
function readConstantly(host: Host, acknowledged: number) {
  let stopped = false;
  let session: Session | undefined;
  const readings = {
    answers: 0,
    refusals: 0,
    /** The newest value that a writer was told to be written. */
    acknowledged,
    stale: [] as { expected: number; read: number }[],
    stop: async () => {
      stopped = true;
      await running;
      session?.close();
    },
  };
  const read = async (): Promise<void> => {
    const signal = AbortSignal.timeout(1000);
    const expected = readings.acknowledged;
    try {
      if (session?.usable !== true) {
        session = await Session.open(await Connection.open(host.address, signal), 'app', signal);
      }
      for await (const batch of session.query('SELECT value FROM newest', [], signal)) {
        const cell = batch.rows[0]?.[0];
        const value = cell?.type === 'integer' ? Number(cell.value) : Number.NaN;
        readings.answers += 1;
        if (!(value >= expected)) readings.stale.push({ expected, read: value });
      }
    } catch {
      readings.refusals += 1;
      session?.close();
    }
  };
  const running = (async () => {
    while (!stopped) {
      await read();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  return readings;
}
