import t from 'tap';
import { DiskFullError } from '../../src/storage/errors.ts';
import { loadNativeAddon } from '../../src/storage/native-addon.ts';
import { NativeDisk } from '../../src/storage/native-disk.ts';
import { NodeDisk } from '../../src/storage/node-disk.ts';
import { diskConformance, realDirectory } from '../conformance/disk.ts';
import { MemoryDisk } from './memory-disk.ts';

diskConformance(t, 'node:fs', async (t) => ({
  disk: new NodeDisk(),
  directory: await realDirectory(t),
  real: true,
}));

diskConformance(t, 'memory', async () => ({
  disk: new MemoryDisk(['/data']),
  directory: '/data',
  real: false,
}));

const { addon, reason } = loadNativeAddon();
const obstacle = addon === undefined ? reason : addon.ioUringObstacle();

for (const backend of ['io_uring', 'thread'] as const) {
  const ioUring = backend === 'io_uring';
  const absent = ioUring ? obstacle : reason;
  if (addon === undefined || absent) {
    t.test(`${backend}: not on this host`, { skip: absent ?? 'not built' }, async () => {});
    continue;
  }
  diskConformance(t, backend, async (t) => {
    const disk = new NativeDisk(addon, ioUring);
    t.teardown(() => disk.close());
    return { disk, directory: await realDirectory(t), real: true };
  });
}

t.test('a device without space is told apart from other failures', async (t) => {
  const disk = new NodeDisk();
  const full = await disk.openForWriting('/dev/full');
  await t.rejects(full.write(Buffer.alloc(4096), 0), DiskFullError);
  await t.rejects(full.write(Buffer.alloc(4096), 0), { path: '/dev/full', code: 'DQL_NO_SPACE' });
  await full.close();
});
