import t from 'tap';
import type { Index } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { SnapshotMeta } from '../../src/raft/types.ts';
import { readWhole } from '../../src/storage/disk.ts';
import { NodeDisk } from '../../src/storage/node-disk.ts';
import { scanSegment } from '../../src/storage/segment-reader.ts';
import { realDirectory } from '../conformance/disk.ts';
import { MemoryDisk } from './memory-disk.ts';
import {
  append,
  collect,
  content,
  entry,
  members,
  metaAt,
  pages,
  persist,
  storeOn,
  truncateFrom,
  vote,
} from './store-support.ts';

const directory = '/data';
const node = new NodeDisk();

function memory(): MemoryDisk {
  return new MemoryDisk([directory]);
}

t.test('an empty directory loads as nothing', async (t) => {
  const store = storeOn(memory(), directory);
  t.same(await store.load(), {
    vote: { term: 0, votedFor: undefined },
    snapshot: undefined,
    entries: [],
  });
  await store.close();
});

t.test('what was persisted on a real disk is loaded again, with default segments', async (t) => {
  const real = await realDirectory(t);
  const options = { segmentBytes: 8 * 1024 * 1024 };
  const store = storeOn(node, real, options);
  await store.load();
  const random = seededRandom(3);
  const entries = Array.from({ length: 300 }, (_, at) =>
    entry(at + 1, 1, pages(random, 8 * random.int(1, 9000))),
  );
  await store.persist(vote(1, 77n));
  await Promise.all(entries.map((one) => store.persist(append(one))));
  await store.close();
  t.same(
    (await node.list(real)).filter((name) => name.startsWith('open-')),
    [],
  );
  const loaded = await storeOn(node, real).load();
  t.same(loaded.vote, { term: 1, votedFor: 77n });
  t.ok(loaded.entries.every((one, at) => one.data.equals(entries[at]?.data ?? Buffer.alloc(0))));
  t.equal(loaded.entries.length, 300);
});

t.test('what arrives during a write leaves in the next, as one batch', async (t) => {
  const disk = memory();
  const store = storeOn(disk, directory, { segmentBytes: 1024 * 1024 });
  await store.load();
  await store.persist(append(entry(1, 1, 4144)));
  let release = () => {};
  disk.beforeDurableWrite = () => new Promise((resolve) => (release = () => resolve()));
  const order: number[] = [];
  const done = Array.from({ length: 20 }, (_, at) =>
    store.persist(append(entry(at + 2, 1, 64))).then(() => order.push(at)),
  );
  await new Promise((resolve) => setImmediate(resolve));
  disk.beforeDurableWrite = async () => {};
  t.equal(disk.durableWrites.length, 1, 'nothing overtakes the write under way');
  release();
  await Promise.all(done);
  t.same(disk.durableWrites, [8192, 4096, 4096], 'the first alone, then the other nineteen');
  t.same(
    order,
    Array.from({ length: 20 }, (_, at) => at),
    'answers in the order of the calls',
  );
  await store.close();
  const path = `${directory}/0000000000000001-0000000000000021`;
  const scan = await scanSegment(await disk.openForReading(path), 1 as Index, () => {});
  t.match(scan, { batches: 3, entries: 21 });
});

t.test('votes, truncations and appends are carried out in their order', async (t) => {
  const disk = memory();
  const store = storeOn(disk, directory);
  await store.load();
  await Promise.all([
    store.persist(vote(1, 1n)),
    store.persist(append(entry(1, 1, 8), entry(2, 1, 8), entry(3, 1, 8))),
    store.persist({ ...truncateFrom(2, entry(2, 2, 16)), vote: vote(2, 3n).vote }),
    store.persist(append(entry(3, 2, 24))),
    store.persist(persist({})),
    store.persist(vote(3)),
    store.persist(truncateFrom(3)),
    store.persist(append(entry(3, 3, 8))),
  ]);
  await store.close();
  const loaded = await storeOn(disk, directory).load();
  t.same(loaded.vote, { term: 3, votedFor: undefined });
  t.same(
    loaded.entries.map(({ index, term }) => [index, term]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  );
});

t.test('the log can be cut at every place', async (t) => {
  for (let from = 1; from <= 40; from++) {
    const disk = memory();
    const store = storeOn(disk, directory, { segmentBytes: 16 * 1024 });
    await store.load();
    await store.persist(vote(2));
    for (let at = 1; at <= 40; at += 4) {
      await store.persist(append(...[0, 1, 2, 3].map((offset) => entry(at + offset, 1, 1000))));
    }
    await store.persist(truncateFrom(from, entry(from, 2, 88)));
    await store.close();
    const { entries } = await storeOn(disk, directory).load();
    const terms = entries.map(({ term }) => term);
    const expected = [...Array.from({ length: from - 1 }, () => 1), 2];
    if (terms.join() !== expected.join()) t.fail(`cut at ${from}: ${terms.join()}`);
  }
  t.pass('forty places');
});

t.test('entries larger than a segment, and segments that fill exactly', async (t) => {
  const disk = memory();
  const segmentBytes = 16 * 1024;
  const store = storeOn(disk, directory, { segmentBytes });
  await store.load();
  await store.persist(vote(1));
  const random = seededRandom(9);
  // Sizes around what fills a segment, or leaves one, two, three words of it.
  const around = [-32, -24, -16, -8, 0, 8, 16].map((off) => segmentBytes - 8 - 32 + off);
  const sizes = [...around, 3 * 1024 * 1024, 8, ...around, 1024 * 1024, 5_000_000, 16];
  const entries = sizes.map((size, at) => entry(at + 1, 1, pages(random, size)));
  const wrong: string[] = [];
  for (const one of entries) {
    await store.persist(append(one));
    for (const name of await disk.list(directory)) {
      if (!name.startsWith('open-')) continue;
      const bytes = await readWhole(disk, `${directory}/${name}`);
      const scan = await scanSegment(
        await disk.openForReading(`${directory}/${name}`),
        1 as Index,
        () => {},
      );
      const rest = bytes.length - scan.usedBytes;
      if (rest > 0 && rest < 16) wrong.push(`${rest} bytes left after ${one.data.length}`);
      if (bytes.length % 4096 !== 0) wrong.push(`length ${bytes.length}`);
    }
  }
  t.same(wrong, [], 'an open segment ends exactly, or with two words or more');
  await store.close();
  const loaded = await storeOn(disk, directory).load();
  t.ok(loaded.entries.every((one, at) => one.data.equals(entries[at]?.data ?? Buffer.alloc(0))));
  t.equal(loaded.entries.length, entries.length);
});

t.test('one call with more than fits into a write is cut into batches', async (t) => {
  const disk = memory();
  const store = storeOn(disk, directory, { segmentBytes: 8 * 1024 * 1024 });
  await store.load();
  const many = Array.from({ length: 60_000 }, (_, at) => entry(at + 1, 1, 48));
  await store.persist({ ...append(...many), vote: vote(1).vote });
  await store.close();
  const { entries } = await storeOn(disk, directory, { trailingEntries: 100_000 }).load();
  t.equal(entries.length, 60_000);
  t.ok(Math.max(...disk.durableWrites) <= 1024 * 1024 + 8192, 'no write is larger than a batch');
});

t.test('snapshots', async (t) => {
  const random = seededRandom(4);

  t.test('are written while appends go on, and the log behind them is trimmed', async (t) => {
    const disk = memory();
    const store = storeOn(disk, directory, { trailingEntries: 10, segmentBytes: 16 * 1024 });
    await store.load();
    await store.persist(vote(1));
    const states = new Map<number, Buffer>();
    let next = 1;
    for (let round = 0; round < 4; round++) {
      for (let count = 0; count < 30; count++) await store.persist(append(entry(next++, 1, 1000)));
      const state = pages(random, 300_000);
      states.set(next - 1, state);
      const snapshot = store.writeSnapshot({ meta: metaAt(next - 1, 1), data: content(state) });
      for (let count = 0; count < 5; count++) await store.persist(append(entry(next++, 1, 1000)));
      await snapshot;
    }
    await store.close();
    const names = await disk.list(directory);
    t.equal(names.filter((name) => /^snapshot-\d+-\d+-\d+$/.test(name)).length, 2, 'two are kept');
    const first = Math.min(
      ...names.filter((name) => /^\d{16}-/.test(name)).map((name) => Number(name.slice(0, 16))),
    );
    t.ok(
      first > 70 && first <= 101,
      `the log starts at ${first}: where the older snapshot needs it`,
    );

    const again = storeOn(disk, directory, { trailingEntries: 10 });
    const loaded = await again.load();
    t.same(loaded.snapshot, metaAt(135, 1));
    t.equal(loaded.entries[0]?.index, 126, 'as many entries before it as asked for');
    const data = await again.openSnapshot(loaded.snapshot as SnapshotMeta);
    t.equal(data.sizeBytes, 300_000);
    for (let time = 0; time < 2; time++) {
      t.ok(
        (await collect(data.chunks())).equals(states.get(135) ?? Buffer.alloc(0)),
        'each reading starts at the beginning',
      );
    }
    data.release();
    data.release();
    await t.rejects(again.openSnapshot(metaAt(50, 1)), { name: 'StorageError', what: /gone/ });
  });

  t.test('leave no more log behind them than bytes are allowed', async (t) => {
    const disk = memory();
    const options = { trailingEntries: 1000, trailingBytes: 40_000, segmentBytes: 16 * 1024 };
    const store = storeOn(disk, directory, options);
    await store.load();
    await store.persist(vote(1));
    for (let next = 1; next <= 200; next++) {
      await store.persist(append(entry(next, 1, 1000)));
      if (next % 80 === 0) {
        const state = pages(random, 10_000);
        await store.writeSnapshot({ meta: metaAt(next, 1), data: content(state) });
      }
    }
    await store.close();
    const { entries } = await storeOn(disk, directory, { trailingEntries: 1000 }).load();
    const first = entries[0]?.index ?? 0;
    t.ok(first > 30 && first <= 80, `the log starts at ${first}: 40 kB before the older snapshot`);
  });

  t.test('change nothing any more once the store is closed, wherever they were then', async (t) => {
    for (let ticks = 0; ticks < 150; ticks++) {
      const disk = memory();
      const store = storeOn(disk, directory);
      await store.load();
      await store.persist({ ...append(entry(1, 1, 8), entry(2, 1, 8)), vote: vote(1).vote });
      await store.writeSnapshot({ meta: metaAt(1, 1), data: content(Buffer.alloc(100)) });
      const writing = store
        .writeSnapshot({ meta: metaAt(2, 1), data: content(Buffer.alloc(100)) })
        .catch(() => {});
      for (let i = 0; i < ticks; i++) await undefined;
      await store.close();
      const counted = async () =>
        (await disk.list(directory)).filter((name) => name.startsWith('snapshot-'));
      const closed = await counted();
      await writing;
      t.same(await counted(), closed, `closed ${ticks} microtasks later`);
    }
  });

  t.test('that arrive are put in place by persist and replace the whole log', async (t) => {
    const disk = memory();
    const store = storeOn(disk, directory);
    await store.load();
    await store.persist({ ...append(entry(1, 1, 8), entry(2, 1, 8)), vote: vote(1).vote });
    const state = pages(random, 500_000);
    const snapshot = await store.receiveSnapshot(metaAt(100, 3), content(state).chunks());
    t.equal(snapshot.data.sizeBytes, state.length);
    const before = await disk.list(directory);
    t.notOk(
      before.some((name) => name.startsWith('snapshot-')),
      'it does not count yet',
    );
    await store.persist({
      ...persist({ snapshot, append: [entry(101, 3, 8)] }),
      vote: vote(3).vote,
    });
    t.ok((await collect(snapshot.data.chunks())).equals(state), 'it is read from its place');
    snapshot.data.release();
    await store.close();
    const again = storeOn(disk, directory);
    const loaded = await again.load();
    t.same(loaded.snapshot, { ...metaAt(100, 3), configuration: members });
    t.same(
      loaded.entries.map(({ index }) => index),
      [101],
    );
    const data = await again.openSnapshot(metaAt(100, 3));
    t.ok((await collect(data.chunks())).equals(state));
    data.release();
  });

  t.test('that arrive and are not wanted leave no file', async (t) => {
    const disk = memory();
    const store = storeOn(disk, directory);
    await store.load();
    const snapshot = await store.receiveSnapshot(
      metaAt(100, 3),
      content(Buffer.alloc(9999)).chunks(),
    );
    t.equal((await disk.list(directory)).length, 1);
    snapshot.data.release();
    await new Promise((resolve) => setImmediate(resolve));
    t.same(await disk.list(directory), []);
    await store.close();
  });

  t.test('whose source fails do no harm', async (t) => {
    const disk = memory();
    const store = storeOn(disk, directory);
    await store.load();
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(100_000);
      throw new Error('unpinned');
    }
    const data = { ...content(Buffer.alloc(0)), chunks: broken };
    await t.rejects(store.writeSnapshot({ meta: metaAt(1, 1), data }), /unpinned/);
    await store.persist({ ...append(entry(1, 1, 8)), vote: vote(1).vote });
    await store.close();
    t.notOk((await disk.list(directory)).some((name) => name.startsWith('tmp-')));
  });

  t.test('can be read while newer ones replace them', async (t) => {
    const real = await realDirectory(t);
    const store = storeOn(node, real);
    await store.load();
    await store.persist(vote(1));
    const state = pages(random, 400_000);
    await store.writeSnapshot({ meta: metaAt(1, 1), data: content(state) });
    const data = await store.openSnapshot(metaAt(1, 1));
    for (const index of [2, 3, 4]) {
      await store.writeSnapshot({ meta: metaAt(index, 1), data: content(Buffer.alloc(10)) });
    }
    t.notOk((await node.list(real)).some((name) => name.startsWith('snapshot-1-1-')));
    t.ok((await collect(data.chunks())).equals(state));
    data.release();
    await store.close();
  });
});

t.test('the first failure of the disk is final', async (t) => {
  for (const failure of [
    Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }),
    Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' }),
  ]) {
    const disk = memory();
    const store = storeOn(disk, directory);
    await store.load();
    await store.persist(append(entry(1, 1, 8)));
    disk.failWith = failure;
    disk.crashAt = disk.operations + 1;
    const writes = disk.durableWrites.length;
    const outcomes = await Promise.allSettled([
      store.persist(append(entry(2, 1, 8))),
      store.persist(append(entry(3, 1, 8))),
    ]);
    t.ok(
      outcomes.every((one) => one.status === 'rejected' && one.reason === failure),
      'those that waited',
    );
    await t.rejects(store.persist(append(entry(4, 1, 8))), failure, 'those that come later');
    await t.rejects(store.close(), failure);
    t.equal(disk.durableWrites.length, writes, 'nothing is written any more');
  }
});

t.test('a closed store refuses writes', async (t) => {
  const store = storeOn(memory(), directory);
  await store.load();
  await store.close();
  await t.rejects(store.persist(vote(1)), /closed/);
});
