import t from 'tap';
import type { Clock } from '../../src/base/clock.ts';
import type { Instant } from '../../src/base/ids.ts';
import { type Logger, nullLogger } from '../../src/base/logger.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { Loaded } from '../../src/raft/ports.ts';
import { DiskFullError } from '../../src/storage/errors.ts';
import type { DiskRaftStore } from '../../src/storage/raft-store.ts';
import { MemoryDisk } from './memory-disk.ts';
import { append, content, entry, metaAt, storeOn, truncateFrom, vote } from './store-support.ts';

const directory = '/data';
const options = { segmentBytes: 16 * 1024, trailingEntries: 4, spareSegments: 1 };

/** Time stands still until `advance`, which runs all timers there are. */
class TestClock implements Clock {
  #now = 1000;
  readonly #due = new Set<() => void>();

  now(): Instant {
    return ++this.#now as Instant;
  }

  after(_delayMs: number, run: () => void): { cancel(): void } {
    this.#due.add(run);
    return { cancel: () => this.#due.delete(run) };
  }

  nextTurn(): void {}

  async advance(): Promise<void> {
    for (const run of [...this.#due]) {
      this.#due.delete(run);
      run();
    }
    await turns();
  }
}

/** Lets all that waits for nothing but promises run. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Everything a store does that takes space; the outcome of each write in order. */
function story(store: DiskRaftStore): { writes: Promise<void>[]; snapshots: Promise<unknown>[] } {
  const writes: Promise<void>[] = [];
  const snapshots: Promise<unknown>[] = [];
  const write = (work: Promise<void>): void => {
    writes.push(work);
    work.catch(() => {});
  };
  write(store.persist(vote(1, 1n)));
  for (let index = 1; index <= 12; index++) {
    write(store.persist(append(entry(index, 1, 4000))));
    if (index !== 8) continue;
    const taken = store.writeSnapshot({ meta: metaAt(6, 1), data: content(Buffer.alloc(9000)) });
    snapshots.push(taken.catch((error: unknown) => error));
  }
  write(store.persist(vote(2, 2n)));
  write(store.persist({ ...truncateFrom(11, entry(11, 2, 40)), vote: vote(3).vote }));
  write(store.persist(append(entry(12, 2, 30_000))));
  const meta = metaAt(20, 3);
  write(store.persist({ ...vote(3, 3n), snapshot: { meta, data: content(Buffer.alloc(500)) } }));
  write(store.persist(append(entry(21, 3, 100))));
  return { writes, snapshots };
}

async function states(writes: readonly Promise<void>[]): Promise<string> {
  const pending = {};
  const all = writes.map((write) =>
    Promise.race([write, pending]).then(
      (value) => (value === pending ? 'w' : '.'),
      () => 'X',
    ),
  );
  return (await Promise.all(all)).join('');
}

function shown({ vote, snapshot, entries }: Loaded): string {
  const log = entries.map((one) => `${one.index}/${one.term}/${one.data.length}`);
  return `${vote.term} ${vote.votedFor} ${snapshot?.index} ${log.join()}`;
}

interface Told {
  readonly lines: string[];
  readonly logger: Logger;
}

function listener(): Told {
  const lines: string[] = [];
  const tell = (_fields: unknown, message: string): void => void lines.push(message);
  return { lines, logger: { ...nullLogger, error: tell, info: tell } };
}

/** Fills the disk at one operation, waits, makes space, and recovers. What went wrong, or whether it was noticed. */
async function fullAt(operation: number): Promise<{ problem?: string; noticed: boolean }> {
  const disk = new MemoryDisk([directory]);
  const clock = new TestClock();
  const { lines, logger } = listener();
  const store = storeOn(disk, directory, { ...options, clock, logger });
  await store.load();
  disk.fullAt = operation;
  const { writes, snapshots } = story(store);
  await turns();
  for (let again = 0; again < 3; again++) await clock.advance();
  const before = await states(writes);
  if (/X/.test(before)) return { problem: `refused while full: ${before}`, noticed: true };
  if (/w\./.test(before)) return { problem: `out of order: ${before}`, noticed: true };
  const noticed = store.space.lacking;
  if (before.includes('w') && !noticed) return { problem: 'waits in silence', noticed };
  // A power cut now: what was acknowledged is there.
  const acknowledged = before.lastIndexOf('.');
  const remains = storeOn(disk.remains(seededRandom(operation)), directory, options);
  const found = await remains.load();
  const last = found.entries.at(-1)?.index ?? found.snapshot?.index ?? 0;
  if (acknowledged >= 1 && acknowledged <= 12 && last < acknowledged) {
    return { problem: `acknowledged ${acknowledged}, found ${last}`, noticed };
  }
  disk.fullAt = Number.POSITIVE_INFINITY;
  for (let again = 0; again < 20; again++) await clock.advance();
  const after = await states(writes);
  if (/[wX]/.test(after)) return { problem: `not resumed: ${after}`, noticed };
  for (const outcome of await Promise.all(snapshots)) {
    if (outcome !== undefined && !(outcome instanceof DiskFullError)) {
      return { problem: `the snapshot failed otherwise: ${outcome}`, noticed };
    }
  }
  if (store.space.lacking) return { problem: 'space is there and still lacking', noticed };
  const told = lines.join('; ');
  const expected =
    'no space left on the device: writes are refused until there is; there is space on the device again: writes are accepted';
  if (noticed && told !== expected) return { problem: `told: ${told}`, noticed };
  await store.close();
  const again = await storeOn(disk.remains(seededRandom(1)), directory, options).load();
  const problem = shown(again) === '3 3 20 21/3/100' ? undefined : `recovered ${shown(again)}`;
  return problem === undefined ? { noticed } : { problem, noticed };
}

t.test(
  'a disk that is full from any operation on loses nothing and goes on by itself',
  async (t) => {
    const counting = new MemoryDisk([directory]);
    const clock = new TestClock();
    const store = storeOn(counting, directory, { ...options, clock });
    await store.load();
    const first = counting.operations;
    const { writes, snapshots } = story(store);
    await Promise.all([...writes, ...snapshots]);
    await turns();
    let noticed = 0;
    for (let operation = first; operation <= counting.operations; operation++) {
      const outcome = await fullAt(operation);
      if (outcome.noticed) noticed++;
      if (outcome.problem === undefined) continue;
      t.fail(`full at operation ${operation}: ${outcome.problem}`);
      return;
    }
    t.ok(noticed > 50, `${noticed} of ${counting.operations - first} operations met a full disk`);
  },
);

t.test(
  'space is lacking as soon as a spare segment cannot be made, and writes still succeed',
  async (t) => {
    const disk = new MemoryDisk([directory]);
    const clock = new TestClock();
    const store = storeOn(disk, directory, { ...options, clock, spareSegments: 2 });
    await store.load();
    await store.persist(vote(1, 1n));
    await store.persist(vote(2, 1n));
    await store.persist(append(entry(1, 1, 15_000)));
    await turns();
    const changes: boolean[] = [];
    store.space.onChange(() => changes.push(store.space.lacking));
    // Zeroed blocks take no space any more: only what makes new files fails.
    disk.keepsZeroedSpace = true;
    disk.fullAt = 0;
    await store.persist(append(entry(2, 1, 15_000)));
    await turns();
    t.equal(store.space.lacking, true);
    await store.persist(vote(5, 2n));
    await store.persist(append(entry(3, 1, 15_000)));
    const waits = store.persist(append(entry(4, 1, 15_000)));
    await turns();
    t.equal(await states([waits]), 'w', 'the reserve is used up');
    disk.fullAt = Number.POSITIVE_INFINITY;
    for (let again = 0; again < 5; again++) await clock.advance();
    await waits;
    t.same(changes, [true, false]);
    await store.close();
  },
);

t.test('a store that waits for space can be closed', async (t) => {
  const disk = new MemoryDisk([directory]);
  const clock = new TestClock();
  const store = storeOn(disk, directory, { ...options, clock });
  await store.load();
  await store.persist(vote(1, 1n));
  await store.persist(append(entry(1, 1, 100)));
  await turns();
  disk.fullAt = 0;
  const refused = store.persist(append(entry(2, 1, 100)));
  await turns();
  store.space.giveUp();
  await t.rejects(refused, DiskFullError);
  await store.close();
  disk.fullAt = Number.POSITIVE_INFINITY;
  const found = await storeOn(disk.remains(seededRandom(1)), directory, options).load();
  // Of the refused write nothing is known: it may be there.
  t.match(shown(found), /^1 1 undefined 1\/1\/100/);
});
