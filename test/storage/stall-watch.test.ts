import t from 'tap';
import { stallLimitMs } from '../../src/storage/stall-watch.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';
import { MemoryDisk } from './memory-disk.ts';
import { append, entry, storeOn } from './store-support.ts';

const directory = '/data';

/** A store on a clock of ours, whose disk does not end a durable write before it is told. */
async function stalling() {
  const clock = new VirtualClock();
  const nudges: number[] = [];
  const disk = Object.assign(new MemoryDisk([directory]), {
    nudge: () => void nudges.push(clock.now()),
  });
  const store = storeOn(disk, directory, { clock, spareSegments: 1 });
  await store.load();
  await store.persist(append(entry(1, 1, 100)));
  let release = (): void => {};
  disk.beforeDurableWrite = () => new Promise((resolve) => (release = resolve));
  const passes = async (ms: number): Promise<void> => {
    const until = clock.now() + ms;
    while (clock.runNext(until)) await new Promise(setImmediate);
    await new Promise(setImmediate);
  };
  return { store, clock, nudges, passes, release: () => release() };
}

/** What has become of a write by now. */
function outcomeOf(write: Promise<void>): { is: string } {
  const outcome = { is: 'waits' };
  write.then(
    () => (outcome.is = 'stored'),
    (error: Error) => (outcome.is = error.message),
  );
  return outcome;
}

t.test('a write that never ends is a failed disk once its limit is over', async (t) => {
  const { store, nudges, passes } = await stalling();
  await passes(10_000);
  t.equal(nudges.length, 0, 'no write, nothing to take up again');

  const [first, second] = [2, 3].map((index) =>
    outcomeOf(store.persist(append(entry(index, 1, 100)))),
  );
  await passes(stallLimitMs - 1000);
  t.same([first?.is, second?.is], ['waits', 'waits'], 'it may be slow for so long');
  t.ok(nudges.length > 50, 'meanwhile the disk is asked each second to take it up again');
  await passes(3000);
  const told = `/data/open-1: a write has not ended for ${stallLimitMs / 1000} s. The disk has stalled: look at the kernel's log`;
  t.equal(first?.is, told);
  t.equal(second?.is, told, 'what waits behind it');
  await t.rejects(store.persist(append(entry(2, 1, 100))), { code: 'DQL_DISK_STALLED' });
});

t.test('slow writes one after the other are no failure', async (t) => {
  const { store, passes, release } = await stalling();
  for (let index = 2; index < 6; index++) {
    const write = outcomeOf(store.persist(append(entry(index, 1, 100))));
    await passes(stallLimitMs - 2000);
    t.equal(write.is, 'waits');
    release();
    await passes(0);
    t.equal(write.is, 'stored');
  }
});

t.test('a pause of the process is no stall', async (t) => {
  const { store, clock, passes, release } = await stalling();
  const write = outcomeOf(store.persist(append(entry(2, 1, 100))));
  // Whatever was due while it was paused runs once; what it starts is due later.
  const late = clock.after.bind(clock);
  clock.after = (delayMs, run) => late(delayMs * 1000, run);
  await passes(10 * stallLimitMs);
  t.equal(write.is, 'waits');
  release();
  await passes(0);
  t.equal(write.is, 'stored');
});

t.test('nothing ticks for long when nothing is written', async (t) => {
  const { clock, store } = await stalling();
  await store.close();
  t.notOk(clock.runNext(10_000), 'nor after the end');
});
