import t from 'tap';
import { Load } from './load.ts';
import { TestCluster } from './test-cluster.ts';
t.test('x', async (t) => {
  const cluster = await TestCluster.of(t, 3);
  const load = await Load.start(cluster.addresses, 4, 'transferred');
  const pauses: number[] = [];
  for (let round = 0; round < 8; round++) {
    await load.more(50);
    await cluster.leader();
    const from = performance.now();
    await cluster.members.transfer(0n);
    const took = performance.now() - from;
    await load.next();
    await load.more(50);
    pauses.push(load.longestPauseMs(from), took | 0);
  }
  t.comment('transfer: ' + pauses);
  const kills: number[] = [];
  for (let round = 0; round < 8; round++) {
    await load.more(50);
    const leader = await cluster.leader();
    const killedAt = performance.now();
    await leader.process.kill();
    const { endedAt } = await load.next();
    kills.push(Math.round(endedAt - killedAt));
    await cluster.start(leader);
  }
  t.comment('kill: ' + kills);
  await load.stop();
  load.close();
});
