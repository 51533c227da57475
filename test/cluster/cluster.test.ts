import { PassThrough, Readable } from 'node:stream';
import t from 'tap';
import { run } from '../../src/cli/main.ts';
import { numberSetting } from '../support/settings.ts';
import { allWell } from './acknowledgements.ts';
import { dumpHash } from './dump-hash.ts';
import { Load } from './load.ts';
import { ELECTION_TIMEOUT_MS, type Node, TestCluster, until } from './test-cluster.ts';

/** FAILOVER_ROUNDS=10 is what is run by hand. */
const failoverRounds = numberSetting('FAILOVER_ROUNDS', 2);
/** CATCH_UP_ROWS=100000 likewise. */
const catchUpRows = numberSetting('CATCH_UP_ROWS', 2000);

// A busy machine makes all of it take twice as long.
t.setTimeout(240_000);

t.test('a cluster of three', async (t) => {
  const cluster = await TestCluster.empty(t);

  await t.test('the only voter can be neither removed nor demoted', async (t) => {
    const { address } = await cluster.add();
    for (const args of [
      ['remove', '1'],
      ['assign', address, 'spare'],
    ]) {
      const { code, err } = await dqlited(['cluster', ...args, '--servers', address]);
      t.equal(code, 1);
      t.match(err, /the only voter can be neither removed nor demoted/);
    }
  });

  await t.test('three commands make three voters', async (t) => {
    const startedAt = performance.now();
    await cluster.add();
    await cluster.add();
    const readyAt = performance.now();
    await cluster.untilRoles({ voter: 3 });
    const [took, after] = [performance.now() - startedAt, performance.now() - readyAt];
    t.comment(
      `two servers started and voting in ${took | 0} ms, ${after | 0} ms after the last was ready`,
    );
    const { out } = await dqlited([
      'cluster',
      'list',
      '--json',
      '--servers',
      cluster.addresses.join(),
    ]);
    t.match(JSON.parse(out), [
      { id: 1, role: 'voter', leader: true, reachable: true },
      { id: 2, role: 'voter', leader: false, reachable: true },
      { id: 3, role: 'voter', leader: false, reachable: true },
    ]);
  });

  await t.test('no acknowledged row is lost or doubled when the leader is killed', async (t) => {
    const load = await Load.start(cluster.addresses);
    t.teardown(() => load.close());
    const term = await termOf(cluster);
    const pauses: number[] = [];
    for (let round = 0; round < failoverRounds; round++) {
      await load.more(50);
      const leader = await cluster.leader();
      const killedAt = performance.now();
      await leader.process.kill();
      const { endedAt } = await load.next();
      pauses.push(Math.round(endedAt - killedAt));
      await cluster.start(leader);
    }
    await load.stop();
    t.comment(
      `kill -9 to the next acknowledged write: ${pauses.join(', ')} ms; election timeout ${ELECTION_TIMEOUT_MS} ms`,
    );
    t.strictSame(await load.check(), allWell);
    const elections = (await termOf(cluster)) - term;
    t.ok(load.failed.length <= 4 * elections, 'only the writes under way may be in doubt');
    await identical(cluster);
  });

  await t.test('a planned transfer fails no request', async (t) => {
    const load = await Load.start(cluster.addresses, 4, 'transferred');
    t.teardown(() => load.close());
    const pauses: number[] = [];
    for (let round = 0; round < 3; round++) {
      await load.more(50);
      const before = await termOf(cluster);
      const from = performance.now();
      await cluster.members.transfer(0n);
      await load.next();
      await load.more(50);
      pauses.push(load.longestPauseMs(from));
      t.ok((await termOf(cluster)) > before, 'another leadership has begun');
    }
    await load.stop();
    t.comment(`longest pause of acknowledgements around a transfer: ${pauses.join(', ')} ms`);
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
  });

  await t.test('a rolling restart fails no request and costs no role', async (t) => {
    const load = await Load.start(cluster.addresses, 4, 'rolling');
    t.teardown(() => load.close());
    const from = performance.now();
    for (const node of cluster.nodes) {
      await load.more(20);
      t.equal(await node.process.stop(), 0);
      await cluster.start(node);
    }
    await load.more(20);
    const pause = load.longestPauseMs(from);
    await load.stop();
    t.comment(`${load.acknowledged.length} writes, longest pause ${pause} ms`);
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
    await cluster.untilRoles({ voter: 3 });
    const logs = cluster.nodes.map(({ process }) => process.log()).join('');
    t.notMatch(logs, 'role changed', 'nobody was demoted or promoted');
    await identical(cluster);
  });

  await t.test('a server that was away catches up while writes go on', async (t) => {
    const load = await Load.start(cluster.addresses, 8, 'away');
    t.teardown(() => load.close());
    const leader = await cluster.leader();
    const away = cluster.nodes.find((node) => node !== leader) as Node;
    await away.process.kill();
    await load.more(catchUpRows);
    await cluster.start(away);
    const from = performance.now();
    const { lastIndex } = await cluster.status(leader);
    await until(
      async () => (await cluster.status(away)).appliedIndex >= lastIndex,
      () => 'the server that was away',
    );
    const took = performance.now() - from;
    await load.more(20);
    const pause = load.longestPauseMs(from);
    await load.stop();
    t.comment(
      `caught up with ${catchUpRows} writes in ${took | 0} ms, longest pause of writes ${pause} ms`,
    );
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
    await identical(cluster);
  });

  await t.test('a leader that is removed or demoted fails no request', async (t) => {
    const load = await Load.start(cluster.addresses, 4, 'deposed');
    t.teardown(() => load.close());
    const servers = ['--servers', cluster.addresses.join()];
    const pauses: number[] = [];
    for (const change of ['assign', 'remove']) {
      await load.more(50);
      const leader = await cluster.leader();
      const from = performance.now();
      const args = change === 'assign' ? [leader.address, 'spare'] : [leader.address];
      const { code } = await dqlited(['cluster', change, ...args, ...servers]);
      t.equal(code, 0);
      await load.more(50);
      pauses.push(load.longestPauseMs(from));
      if (change === 'remove') await cluster.replace(leader);
      await cluster.untilRoles({ voter: 3 });
    }
    await load.stop();
    t.comment(`longest pause of writes around a demotion and a removal: ${pauses.join(', ')} ms`);
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
    await identical(cluster);
  });

  await t.test('a fresh server joins under load; a removed one does no harm', async (t) => {
    const load = await Load.start(cluster.addresses, 4, 'fresh');
    t.teardown(() => load.close());
    const fresh = await cluster.add();
    await cluster.untilRoles({ voter: 3, standby: 1 });
    const leader = await cluster.leader();
    const { term } = await cluster.status(leader);
    const removed = cluster.nodes.find((node) => node !== leader && node !== fresh) as Node;
    const servers = ['--servers', cluster.addresses.join()];
    const { code, err } = await dqlited(['cluster', 'remove', removed.address, ...servers]);
    t.equal(code, 0);
    t.match(err, `server ${removed.id} at ${removed.address} was removed: it may be stopped now`);
    // The standby takes the place at once, and the removed server, which still runs, starts no election.
    await cluster.untilRoles({ voter: 3, standby: 0 });
    await new Promise((resolve) => setTimeout(resolve, 4 * ELECTION_TIMEOUT_MS));
    t.equal((await cluster.status(leader)).term, term);
    t.match((await cluster.status(removed)).noLeaderBecause ?? '', /not a member/);
    await load.stop();
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
    await removed.process.stop();
    cluster.nodes.splice(cluster.nodes.indexOf(removed), 1);
    await identical(cluster);
  });
});

t.test(
  'a cluster of five: a standby takes the place of a voter that stops or is lost',
  async (t) => {
    const cluster = await TestCluster.of(t, 5);
    await cluster.untilRoles({ voter: 3, standby: 2 });
    const load = await Load.start(cluster.addresses);
    t.teardown(() => load.close());
    const [first, second] = cluster.nodes as [Node, Node];

    await first.process.stop();
    const { members } = await cluster.members.members();
    t.equal(members.filter(({ role }) => role === 'voter').length, 3, 'before it has ended');
    t.equal(members[0]?.role, 'standby');
    await cluster.start(first);
    t.strictSame(load.failed, [], 'stopping the leader fails no request');

    const killedAt = performance.now();
    await second.process.kill();
    await until(
      async () => {
        const now = (await cluster.members.members()).members;
        return now[1]?.role === 'spare' && now.filter(({ role }) => role === 'voter').length === 3;
      },
      () => 'the voter that was killed to be replaced',
    );
    t.comment(`a killed voter was replaced after ${(performance.now() - killedAt) | 0} ms`);
    await cluster.start(second);
    await cluster.untilRoles({ voter: 3, standby: 2 });
    await load.stop();
    t.strictSame(await load.check(), allWell);
    await identical(cluster);
  },
);

/** The term of the leader. */
async function termOf(cluster: TestCluster): Promise<number> {
  return (await cluster.status(await cluster.leader())).term;
}

/** Runs a command line in this process. */
async function dqlited(
  args: readonly string[],
): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await run(args, { in: Readable.from(['']), out, err, environment: {} });
  return { code, out: String(out.read() ?? ''), err: String(err.read() ?? '') };
}

/** Rejects unless every server ends up with the same bytes of the database. */
async function identical(cluster: TestCluster): Promise<void> {
  await cluster.untilApplied();
  const hashes = await Promise.all(cluster.addresses.map((address) => dumpHash(address)));
  if (new Set(hashes).size !== 1) throw new Error(`the databases differ: ${hashes.join(', ')}`);
}
