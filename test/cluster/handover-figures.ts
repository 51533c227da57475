/**
 * How long writes stop when leadership is handed over: three servers at the default latency, transfers one after the other,
 * under load from this project's client and from go-dqlite. Run by hand on a calm machine:
 *
 *   npx tsx test/cluster/handover-figures.ts          ROUNDS=20 LATENCY_MS=200 CLIENTS=4
 *
 * A figure is the longest time without an acknowledgement around one transfer. Nothing may fail.
 */
import t from 'tap';
import { line } from '../load/print.ts';
import { numberSetting } from '../support/settings.ts';
import { allWell } from './acknowledgements.ts';
import { GoLoad, goLoadMissing } from './go-load.ts';
import { Load } from './load.ts';
import { LATENCY_MS, TestCluster } from './test-cluster.ts';

const rounds = numberSetting('ROUNDS', 20);
const clients = numberSetting('CLIENTS', 4);

t.setTimeout(0);
t.test('transfers', { timeout: 600_000 }, async (t) => {
  const cluster = await TestCluster.of(t, 3);
  const missing = goLoadMissing();
  line('network latency', `${LATENCY_MS} ms; ${rounds} transfers each, ${clients} writers`);
  for (const kind of ['own client', 'go-dqlite'] as const) {
    if (kind === 'go-dqlite' && missing !== undefined) {
      line(kind, missing);
      continue;
    }
    const load =
      kind === 'own client'
        ? await Load.start(cluster.addresses, clients, 'own')
        : await GoLoad.start(cluster.addresses, { clients, table: 'go' });
    const pauses: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await load.more(50);
      const from = performance.now();
      await cluster.members.transfer(0n);
      await load.more(50);
      pauses.push(load.longestPauseMs(from));
    }
    await load.stop();
    t.strictSame(load.failed, []);
    t.strictSame(await load.check(), allWell);
    load.close();
    const sorted = [...pauses].sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    line(kind, `min ${sorted[0]}, median ${median}, max ${sorted.at(-1)}   (${pauses.join(' ')})`);
  }
});
