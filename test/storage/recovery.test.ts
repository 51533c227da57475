import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Index } from '../../src/base/ids.ts';
import { readWhole } from '../../src/storage/disk.ts';
import { StorageError } from '../../src/storage/errors.ts';
import { closedSegmentName } from '../../src/storage/file-names.ts';
import { encodeSegment } from '../../src/storage/segment.ts';
import { scanSegment } from '../../src/storage/segment-reader.ts';
import { survey } from '../../src/storage/survey.ts';
import {
  batchBytes,
  directory,
  first,
  makeDirectory,
  type Outcome,
  openPath,
  second,
  segmentBytes,
  stateAt,
} from './damage.ts';
import { rows } from './damage-rows.ts';
import type { MemoryDisk } from './memory-disk.ts';
import {
  append,
  collect,
  content,
  entry,
  metaAt,
  storeOn,
  truncateFrom,
  vote,
} from './store-support.ts';

for (const { damage, make, outcome } of rows) {
  t.test(damage, async (t) => {
    const disk = await makeDirectory();
    const expected = typeof outcome === 'function' ? await outcome(disk) : outcome;
    await make(disk);
    await check(t, disk, expected);
  });
}

t.test('every row is in the documentation, and no other', async (t) => {
  const page = join(import.meta.dirname, '..', '..', 'docs', 'storage-format.md');
  const [, table = ''] = (await readFile(page, 'utf8')).split('### Damage and outcome');
  const documented = [...table.matchAll(/^\| ([^|]+) \| ([^|]+) \|/gm)].slice(1);
  const expected = rows.map(({ damage }) => damage);
  t.same(
    documented.map(([, damage]) => damage),
    expected,
  );
});

async function check(t: Test, disk: MemoryDisk, expected: Outcome): Promise<void> {
  const { loaded, refused, aside, automatic } = expected;
  if (loaded) await checkLoaded(t, disk, loaded, false);
  if (aside) t.same(await namesAside(disk), aside, 'moved aside');
  if (refused === undefined) return;
  const names = [...(await disk.list(directory))].sort();
  const error = await storeOn(disk, directory)
    .load()
    .catch((caught: unknown) => caught);
  t.type(error, StorageError);
  t.match(error, refused);
  if (error instanceof StorageError)
    t.match(error.nextStep, /join again/, 'the next step is named');
  t.same([...(await disk.list(directory))].sort(), names, 'a refusal changes nothing');
  if (automatic) {
    await checkLoaded(t, disk, automatic, true);
    t.ok((await namesAside(disk)).length > 0, 'what was damaged is kept aside');
  } else {
    await t.rejects(storeOn(disk, directory, { autoRecovery: true }).load(), StorageError);
  }
}

async function checkLoaded(
  t: Test,
  disk: MemoryDisk,
  expected: readonly number[],
  autoRecovery: boolean,
): Promise<void> {
  const store = storeOn(disk, directory, { segmentBytes, autoRecovery });
  const { snapshot, entries } = await store.load();
  t.same([snapshot?.index ?? 0, entries[0]?.index, entries.at(-1)?.index], expected);
  t.ok(entries.every((one) => one.data.equals(entry(one.index, one.term, 4144).data)));
  if (snapshot) {
    const data = await store.openSnapshot(snapshot);
    t.ok(
      (await collect(data.chunks())).equals(stateAt(snapshot.index)),
      'the state of the snapshot',
    );
    data.release();
  }
  const next = (expected[2] ?? 0) + 1;
  await store.persist(append(entry(next, 1, 4144)));
  await store.close();
  const again = await storeOn(disk, directory, { trailingEntries: 64 }).load();
  t.equal(again.entries.at(-1)?.index, next, 'the log goes on');
  t.equal(again.snapshot?.index ?? 0, expected[0]);
}

async function namesAside(disk: MemoryDisk): Promise<string[]> {
  return (await disk.list(directory))
    .filter((name) => name.startsWith('corrupt-'))
    .map((name) => name.replace(/^corrupt-\d+-/, '').replace(/^open-\d+$/, 'open'))
    .map((name) => name.replace(/^(snapshot-\d+-\d+)-\d+/, '$1'))
    .sort();
}

t.test('an interrupted truncation leaves a log without a gap', async (t) => {
  const disk = await makeDirectory();
  const names = () => disk.list(directory);
  const store = storeOn(disk, directory, { segmentBytes, trailingEntries: 64 });
  await store.load();
  await store.persist(truncateFrom(37, entry(37, 1, 4144)));
  await store.close();
  t.ok((await names()).includes(closedSegmentName(33 as Index, 36 as Index)));

  // As if the shorter copy had been put in place and the longer original not yet been removed.
  const short = await readWhole(
    disk,
    `${directory}/${closedSegmentName(17 as Index, 32 as Index)}`,
  );
  const copy = await disk.create(`${directory}/${closedSegmentName(17 as Index, 20 as Index)}`);
  await copy.write(short.subarray(0, 8 + 4 * batchBytes), 0);
  const loaded = await storeOn(disk, directory, { trailingEntries: 64 }).load();
  t.equal(loaded.entries.length, 37);
  t.same(await namesAside(disk), [closedSegmentName(17 as Index, 20 as Index)]);
});

t.test('a log that contradicts an installed snapshot is moved aside', async (t) => {
  const disk = await makeDirectory();
  const store = storeOn(disk, directory, { segmentBytes, trailingEntries: 64 });
  await store.load();
  await store.persist(vote(5));
  // The snapshot of another leader gets as far as its place; the old log is still there.
  await store.writeSnapshot({ meta: metaAt(40, 5), data: content(stateAt(40)) });
  await store.close();
  const loaded = await storeOn(disk, directory).load();
  t.equal(loaded.snapshot?.index, 40);
  t.same(loaded.entries, []);
  t.notOk((await disk.list(directory)).some((name) => /^\d{16}-/.test(name)));
  t.ok((await namesAside(disk)).length >= 2);
});

t.test('a log that ends before an installed snapshot is removed', async (t) => {
  const disk = await makeDirectory();
  const store = storeOn(disk, directory, { segmentBytes, trailingEntries: 64 });
  await store.load();
  await store.persist(vote(5));
  await store.writeSnapshot({ meta: metaAt(100, 5), data: content(stateAt(100)) });
  await store.close();
  const again = storeOn(disk, directory);
  const loaded = await again.load();
  t.same([loaded.snapshot?.index, loaded.entries.length], [100, 0]);
  await again.persist(append(entry(101, 5, 8)));
  await again.close();
  t.ok((await disk.list(directory)).includes(closedSegmentName(101 as Index, 101 as Index)));
});

t.test('whole segments are what other readers expect', async (t) => {
  const disk = await makeDirectory();
  for (const path of [first, second]) {
    const file = await disk.openForReading(path);
    const scan = await scanSegment(file, 1 as Index, () => {});
    t.match(scan, { batches: 16, entries: 16, usedBytes: file.sizeBytes, end: { kind: 'exact' } });
  }
  const open = await readWhole(disk, await openPath(disk));
  t.equal(open.length, segmentBytes, 'an open segment keeps its length');
});

t.test('a damaged batch in a segment before the last is refused', async (t) => {
  const disk = await makeDirectory();
  const path = await openPath(disk);
  const next = `${directory}/open-${Number(path.split('-').at(-1)) + 1}`;
  const one = encodeSegment([entry(43, 1, 800)]);
  disk.damage(next, (bytes) => Buffer.concat([one, bytes.subarray(one.length)]));
  disk.damage(path, (bytes) => bytes.fill(9, 8 + 9 * batchBytes + 50, 8 + 9 * batchBytes + 60));
  const load = (autoRecovery: boolean) =>
    storeOn(disk, directory, { trailingEntries: 64, autoRecovery }).load();
  const error = await load(false).catch((caught: unknown) => caught);
  t.match(error, { path, offset: 8 + 9 * batchBytes, what: /open-\d+ was written after it/ });
  t.equal((await load(true)).entries.at(-1)?.index, 41);
  t.same(
    await namesAside(disk),
    ['open', 'open'],
    'a copy of the damaged one, and the one behind it',
  );
});

t.test('an older snapshot that is damaged is found by a report', async (t) => {
  const disk = await makeDirectory();
  const name = (await disk.list(directory)).find((one) => /^snapshot-1-16-\d+$/.test(one));
  disk.damage(`${directory}/${name}`, (bytes) => bytes.fill(1, 60, 61));
  const { findings, snapshot } = await survey({
    disk,
    directory,
    trailingEntries: undefined,
    allSnapshots: true,
  });
  t.equal(snapshot?.index, 32);
  t.match(findings, [{ severity: 'warning', path: `${directory}/${name}`, nextStep: /newer/ }]);
});
