import t from 'tap';
import { World } from './random-world.ts';

// biome-ignore lint/style/noProcessEnv: RAFT_SEEDS=from-to runs these seeds instead of the few that CI runs.
const [from = 1, to = 12] = (process.env.RAFT_SEEDS ?? '1-12').split('-').map(Number);

t.test(
  `clusters of seeds ${from} to ${to} keep Raft's promises and live again after healing`,
  (t) => {
    const total = { committed: 0, leaders: 0, reads: 0 };
    for (let seed = from; seed <= to; seed++) {
      const world = new World(seed);
      try {
        world.run(2000);
      } catch (error) {
        t.comment(world.trace.slice(-200).join('\n'));
        throw new Error(`RAFT_SEEDS=${seed}-${seed}`, { cause: error });
      }
      total.committed += world.summary.committed;
      total.leaders += world.summary.leaders;
      total.reads += world.summary.reads;
    }
    const seeds = to - from + 1;
    t.ok(total.committed > 100 * seeds, `${total.committed} entries committed`);
    t.ok(total.reads > 100 * seeds, `${total.reads} reads checked`);
    t.ok(total.leaders >= seeds, `${total.leaders} leaders elected`);
    t.end();
  },
);
