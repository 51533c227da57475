import t from 'tap';
import { numberSetting } from '../support/settings.ts';
import { allWell } from './acknowledgements.ts';
import { GoLoad, goLoadMissing } from './go-load.ts';
import { ELECTION_TIMEOUT_MS, type Node, TestCluster } from './test-cluster.ts';

/** FAILOVER_ROUNDS=10 is what is run by hand. */
const failoverRounds = numberSetting('FAILOVER_ROUNDS', 1);

const missing = goLoadMissing();

t.test('under load from go-dqlite', { skip: missing ?? false }, async (t) => {
  const cluster = await TestCluster.of(t, 3);

  await t.test('a rolling restart of all servers fails no request', async (t) => {
    const load = await GoLoad.start(cluster.addresses, { table: 'rolling' });
    t.teardown(() => load.close());
    const from = performance.now();
    // The leader last as well as first: after it another server leads, which is restarted too.
    const leader = await cluster.leader();
    const others = cluster.nodes.filter((node) => node !== leader);
    for (const node of [leader, ...others] as Node[]) {
      await load.more(50);
      t.equal(await node.process.stop(), 0);
      await cluster.start(node);
    }
    await load.more(50);
    const pause = load.longestPauseMs(from);
    await load.stop();
    t.comment(`${load.acknowledged.length} writes, longest pause ${pause} ms`);
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
  });

  await t.test('a transfer fails no request', async (t) => {
    const load = await GoLoad.start(cluster.addresses, { table: 'transferred' });
    t.teardown(() => load.close());
    const from = performance.now();
    for (let round = 0; round < 3; round++) {
      await load.more(50);
      await cluster.members.transfer(0n);
    }
    await load.more(50);
    const pause = load.longestPauseMs(from);
    await load.stop();
    t.comment(`longest pause of acknowledgements ${pause} ms`);
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
  });

  await t.test('no acknowledged row is lost or doubled when the leader is killed', async (t) => {
    const load = await GoLoad.start(cluster.addresses, { table: 'killed' });
    t.teardown(() => load.close());
    const pauses: number[] = [];
    for (let round = 0; round < failoverRounds; round++) {
      await load.more(50);
      const leader = await cluster.leader();
      const killedAt = performance.now();
      await leader.process.kill();
      await load.more(50);
      pauses.push(load.longestPauseMs(killedAt));
      await cluster.start(leader);
    }
    await load.stop();
    t.comment(
      `kill -9 to the next acknowledged write: ${pauses.join(', ')} ms; election timeout ${ELECTION_TIMEOUT_MS} ms`,
    );
    t.strictSame(load.failed, [], 'the driver repeats what was in doubt');
    t.strictSame(await load.check(), allWell);
  });
});
