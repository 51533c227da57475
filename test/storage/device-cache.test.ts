import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { deviceNeedsFlush } from '../../src/storage/device-cache.ts';

/** Device 259:3, as the kernel shows devices: a link that leads to a disk or to a partition of one. */
function fakeDevices(
  root: string,
  queue: { write_cache?: string; fua?: string },
  partition: boolean,
): string {
  const disk = join(root, 'devices/disk');
  mkdirSync(join(disk, 'queue'), { recursive: true });
  mkdirSync(join(disk, 'partition'));
  for (const [name, content] of Object.entries(queue)) {
    writeFileSync(join(disk, 'queue', name), `${content}\n`);
  }
  const numbers = join(root, 'block');
  mkdirSync(numbers);
  symlinkSync(partition ? '../devices/disk/partition' : '../devices/disk', join(numbers, '259:3'));
  return numbers;
}

const device = (259n << 8n) | 3n;

t.test('a device needs a flush when it has a cache and cannot write past it', async (t) => {
  const cases: readonly [{ write_cache?: string; fua?: string }, boolean][] = [
    [{ write_cache: 'write back', fua: '0' }, true],
    [{ write_cache: 'write back', fua: '1' }, false],
    [{ write_cache: 'write through', fua: '0' }, false],
    [{ write_cache: 'write back' }, true],
    [{}, true],
  ];
  for (const [at, [queue, needed]] of cases.entries()) {
    for (const partition of [false, true]) {
      const root = join(t.testdir({}), `${at}-${partition}`);
      mkdirSync(root);
      const numbers = fakeDevices(root, queue, partition);
      t.equal(
        await deviceNeedsFlush(device, numbers),
        needed,
        JSON.stringify({ queue, partition }),
      );
    }
  }
});

t.test('of a device that the kernel does not describe the worse is believed', async (t) => {
  t.equal(await deviceNeedsFlush(0x2bn, t.testdir({})), true);
});

t.test('large device numbers are taken apart as the kernel puts them together', async (t) => {
  const numbers = t.testdir({
    '4100:300': { queue: { write_cache: 'write through\n', fua: '0\n' } },
  });
  const large =
    ((4100n & 0xfffn) << 8n) |
    ((4100n & ~0xfffn) << 32n) |
    (300n & 0xffn) |
    ((300n & ~0xffn) << 12n);
  t.equal(await deviceNeedsFlush(large, numbers), false);
});
