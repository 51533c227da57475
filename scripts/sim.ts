/**
 * `npm run sim -- --seeds A..B [--trace LINES]`: runs simulated clusters by seed, one after the other, and says which
 * failed, why, and what happened last. Exits with 1 when any did.
 */
import { parseArgs } from 'node:util';
import { runSeed } from '../test/sim/run-seed.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1..1000' },
    trace: { type: 'string', default: '0' },
  },
});
const [first = 1, last = first] = values.seeds.split('..').map(Number);
const lines = Number(values.trace);
const startedAt = performance.now();
const sum = {
  committed: 0,
  acknowledged: 0,
  reads: 0,
  leaders: 0,
  changes: 0,
  transfers: 0,
  restored: 0,
};
let failed = 0;

for (let seed = first; seed <= last; seed++) {
  const outcome = await runSeed(seed, lines);
  for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += outcome.summary[name];
  if (outcome.kind === 'failed') {
    failed++;
    for (const line of outcome.lines) print(line);
    const { error } = outcome;
    print(`seed ${seed} failed: ${error instanceof Error ? error.stack : String(error)}`);
    print(`again: SIM_SEED=${seed} npx tap test/sim/sim.test.ts`);
  }
  if ((seed - first + 1) % 500 === 0) progress(seed - first + 1);
}
progress(last - first + 1);
process.exitCode = failed > 0 ? 1 : 0;

function progress(done: number): void {
  const perSecond = (done / (performance.now() - startedAt)) * 1000;
  const { committed, acknowledged, reads, leaders, changes, transfers, restored } = sum;
  const cpuSeconds = process.cpuUsage().user / 1e6 / done;
  print(
    `${done} seeds, ${failed} failed, ${perSecond.toFixed(1)}/s, ${cpuSeconds.toFixed(3)} processor seconds each: ` +
      `${leaders} leaders, ${committed} entries, ${acknowledged} writes and ${reads} reads by clients, ` +
      `${changes} changes of members, ${transfers} transfers, ${restored} snapshots restored`,
  );
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
