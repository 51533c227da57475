import { execFileSync } from 'node:child_process';
import t from 'tap';

const allocate = `
  const { PerformanceObserver, constants } = require('node:perf_hooks');
  let full = 0;
  new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries()) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) full++;
  }).observe({ entryTypes: ['gc'] });
  let kept = [];
  let turns = 0;
  const turn = () => {
    for (let i = 0; i < 2000; i++) kept.push({ i, more: [i] });
    if (kept.length > 50000) kept = kept.slice(25000);
    if (++turns < 500) setImmediate(turn);
    else setTimeout(() => process.stdout.write(String(full)), 100);
  };
  turn();
`;

/** Full collections while objects are kept for a while and dropped. */
function collections(before: string): number {
  const text = execFileSync(process.execPath, ['-e', before + allocate], { encoding: 'utf8' });
  return Number(text);
}

t.test('this V8 knows the option that lets heaps grow', async (t) => {
  const asIs = collections('');
  const growing = collections(
    "require('node:v8').setFlagsFromString('--heap-growing-percent=500');",
  );
  t.comment(`${asIs} full collections without it, ${growing} with it`);
  t.ok(growing < asIs);
});
