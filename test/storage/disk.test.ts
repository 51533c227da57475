import t from 'tap';
import { DiskFullError } from '../../src/storage/errors.ts';
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

t.test('a device without space is told apart from other failures', async (t) => {
  const disk = new NodeDisk();
  const full = await disk.openForWriting('/dev/full');
  await t.rejects(full.write(Buffer.alloc(4096), 0), DiskFullError);
  await t.rejects(full.write(Buffer.alloc(4096), 0), { path: '/dev/full', code: 'DQL_NO_SPACE' });
  await full.close();
});
