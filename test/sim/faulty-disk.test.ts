import t from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { type Disk, readWhole, writeWhole } from '../../src/storage/disk.ts';
import { diskConformance } from '../conformance/disk.ts';
import { hurriedClock } from '../support/hurried-clock.ts';
import { FaultyDisk } from './faulty-disk.ts';

function faultyDisk(seed: number): FaultyDisk {
  const options = { directories: ['/data'], minLatencyMs: 0, maxLatencyMs: 1 };
  return new FaultyDisk(hurriedClock, seededRandom(seed), options);
}

diskConformance(t, 'simulated', async () => ({
  disk: faultyDisk(1),
  directory: '/data',
  real: false,
}));

/** What is in the file after each of many crashes that come after `work`: every outcome once, in order. */
async function outcomes(
  work: (disk: Disk) => Promise<void>,
  how: 'crash' | 'kill' = 'crash',
): Promise<string[]> {
  const found = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const disk = faultyDisk(seed);
    await work(disk);
    disk[how]();
    const names = await disk.list('/data');
    found.add(names.includes('a') ? `${await readWhole(disk, '/data/a')}` : 'nothing');
  }
  return [...found].sort();
}

/** Creates /data/a, durable in every respect. */
async function durable(disk: Disk, content: string): Promise<void> {
  await writeWhole(disk, '/data/a', Buffer.from(content));
  await disk.syncDirectory('/data');
}

t.test('after a power cut', async (t) => {
  t.strictSame(await outcomes((disk) => durable(disk, 'old')), ['old'], 'what was synced is there');

  const unnamed = await outcomes((disk) => writeWhole(disk, '/data/a', Buffer.from('new')));
  t.strictSame(unnamed, ['new', 'nothing'], 'a name may be lost until its directory is synced');

  const unsynced = await outcomes(async (disk) => {
    await durable(disk, 'old');
    const file = await disk.openForWriting('/data/a');
    await file.write(Buffer.from('new'), 0);
  });
  t.strictSame(unsynced, ['new', 'old'], 'a write may be lost until it is synced');

  const torn = await outcomes(async (disk) => {
    await durable(disk, 'o'.repeat(1024));
    const file = await disk.openForWriting('/data/a');
    await file.write(Buffer.from('n'.repeat(1024)), 0);
  });
  t.ok(torn.includes(`${'n'.repeat(512)}${'o'.repeat(512)}`), 'or be there in part');
  t.ok(torn.includes(`${'o'.repeat(512)}${'n'.repeat(512)}`), 'any part');
  t.equal(torn.length, 4, 'but sectors are whole');

  const cut = await outcomes(async (disk) => {
    await durable(disk, 'old');
    const file = await disk.openForWriting('/data/a');
    await file.truncate(1);
  });
  t.strictSame(cut, ['o', 'old'], 'a new length may be lost until it is synced');

  const renamed = await outcomes(async (disk) => {
    await durable(disk, 'old');
    await writeWhole(disk, '/data/b', Buffer.from('new'));
    await disk.rename('/data/b', '/data/a');
  });
  t.strictSame(renamed, ['new', 'old'], 'a rename has happened or not');

  const overtaken = await outcomes(async (disk) => {
    await durable(disk, 'old');
    const file = await disk.openForWriting('/data/a');
    await file.write(Buffer.from('new'), 0);
    const log = await disk.openLog('/data/a');
    await log.writeDurably(Buffer.from('log'), 0);
  });
  t.strictSame(overtaken, ['log'], 'a durable write is not undone by an older one');

  const underWay = await outcomes(async (disk) => {
    await durable(disk, 'old');
    const log = await disk.openLog('/data/a');
    void log.writeDurably(Buffer.from('new'), 0);
  });
  t.strictSame(underWay, ['new', 'old'], 'a durable write that was under way may have happened');

  const early = await outcomes(async (disk) => {
    await durable(disk, 'old');
    const file = await disk.openForWriting('/data/a');
    const sync = file.sync();
    await file.write(Buffer.from('new'), 0);
    await sync;
  });
  t.strictSame(early, ['new', 'old'], 'a sync covers what was written before it was called');
});

t.test('after a kill everything is visible, and may still be lost with the power', async (t) => {
  const change = async (disk: Disk) => {
    await durable(disk, 'old');
    const file = await disk.openForWriting('/data/a');
    await file.write(Buffer.from('new'), 0);
  };
  t.strictSame(await outcomes(change, 'kill'), ['new']);
  const later = await outcomes(async (disk) => {
    await change(disk);
    (disk as FaultyDisk).kill();
  });
  t.strictSame(later, ['new', 'old']);
});
