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
t.test('V8 hears of it', { skip: reason ?? false }, (t) => {
  const before = process.memoryUsage().external;
  addon?.adjustExternalMemory(10_000_000);
  t.ok(process.memoryUsage().external >= before + 9_000_000);
  addon?.adjustExternalMemory(-10_000_000);
  t.ok(process.memoryUsage().external < before + 1_000_000);
  t.end();
});
