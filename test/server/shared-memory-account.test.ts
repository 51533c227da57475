import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { SharedMemoryAccount } from '../../src/server/shared-memory-account.ts';
import { loadNativeAddon } from '../../src/storage/native-addon.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

t.test('shared memory counts once, and until it is collected', async (t) => {
  let bytes = 0;
  const account = new SharedMemoryAccount((change) => {
    bytes += change;
  });
  const kept = new SharedArrayBuffer(1000);
  const addAll = (): void => {
    for (let i = 0; i < 10; i++) account.add(new SharedArrayBuffer(100));
    account.add(kept);
    account.add(kept);
  };
  addAll();
  t.equal(bytes, 2000);
  for (let i = 0; i < 50 && bytes > 1000; i++) {
    collect();
    await pause(10);
  }
  t.equal(bytes, 1000);
  account.add(kept);
  t.equal(bytes, 1000);
});

const { addon, reason } = loadNativeAddon();
t.test('V8 collects when it hears of much more', { skip: reason ?? false }, async (t) => {
  let major = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as unknown as readonly { detail: { kind: number } }[]) {
      if (entry.detail.kind !== constants.NODE_PERFORMANCE_GC_MINOR) major++;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  await pause(20);
  const before = major;
  for (let i = 0; i < 10; i++) addon?.adjustExternalMemory(30_000_000);
  for (let i = 0; i < 200 && major === before; i++) await pause(10);
  addon?.adjustExternalMemory(-300_000_000);
  observer.disconnect();
  t.ok(major > before);
});
