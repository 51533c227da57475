import t from 'tap';
import { engineNames, loadEngine } from '../../src/server/engine-loader.ts';
import { RandomRound } from './random-round.ts';

// biome-ignore lint/style/noProcessEnv: longer runs, and the repetition of one seed, are asked for by hand.
const { RANDOM_SEED = '1', RANDOM_ROUNDS = '3', RANDOM_OPERATIONS = '400' } = process.env;

t.setTimeout(Number(RANDOM_ROUNDS) * 20_000);

for (const name of engineNames) {
  t.test(`on ${name} every read of random histories is the one that a model predicts`, (t) => {
    const make = loadEngine(name);
    const totals: Record<string, number> = {};
    for (let round = 0; round < Number(RANDOM_ROUNDS); round++) {
      const seed = Number(RANDOM_SEED) + round;
      const history = new RandomRound(make, seed);
      try {
        history.run(Number(RANDOM_OPERATIONS));
      } catch (cause) {
        throw new Error(`RANDOM_SEED=${seed} RANDOM_ROUNDS=1 fails on ${name}`, { cause });
      }
      for (const [key, count] of Object.entries(history.tally)) {
        totals[key] = (totals[key] ?? 0) + count;
      }
    }
    t.comment(JSON.stringify(totals));
    t.ok((totals.committed ?? 0) > 0 && (totals.dropped ?? 0) > 0 && (totals.swaps ?? 0) > 0);
    t.end();
  });
}
