import t from 'tap';
import { numberSetting } from '../support/settings.ts';
import { type Outcome, runSeed } from './run-seed.ts';

/** Lines of the trace that are shown of a seed that failed. */
const shownLines = 200;
/** How long the slice of seeds may take: seconds. */
const seconds = numberSetting('SIM_SECONDS', 300);

t.setTimeout((seconds + 120) * 1000);

t.test('the same seed is the same run, with registers and with SQL', async (t) => {
  for (const seed of [7, 11, 20]) {
    const [first, second] = [await runSeed(seed, 1e6), await runSeed(seed, 1e6)];
    t.equal(first.summary.hash, second.summary.hash, `seed ${seed}`);
    t.strictSame(first.lines, second.lines);
    t.ok(first.lines.length > 100, `${first.lines.length} things happened`);
  }
});

const seed = numberSetting('SIM_SEED', 0);
if (seed > 0) {
  t.test(`seed ${seed}`, async (t) => report(t, await runSeed(seed, shownLines)));
} else {
  t.test('no seed breaks a promise', async (t) => {
    const until = performance.now() + seconds * 1000;
    const from = numberSetting('SIM_FROM', 1);
    let next = from;
    for (; performance.now() < until; next++) {
      const outcome = await runSeed(next);
      if (outcome.kind === 'failed') report(t, await runSeed(next, shownLines));
    }
    t.ok(next > from, `${next - from} seeds`);
    t.comment(`told: ${next - from} seeds from ${from} on, in ${seconds} s`);
  });
}

/** Of a failure: what, the last things that happened before, and how to see it again. */
function report(
  t: { pass: (m: string) => void; fail: (m: string, x: object) => void },
  outcome: Outcome,
): void {
  const { seed, summary } = outcome;
  if (outcome.kind === 'passed') {
    t.pass(`seed ${seed}: ${summary.acknowledged} writes, ${summary.reads} reads`);
    return;
  }
  t.fail(`seed ${seed}: ${String(outcome.error)}`, {
    replay: `SIM_SEED=${seed} npm test -- test/sim/sim.test.ts`,
    stack: outcome.error instanceof Error ? (outcome.error.stack ?? '') : '',
    trace: outcome.lines,
  });
}
