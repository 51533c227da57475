import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import type { Index } from '../../src/base/ids.ts';
import type { Loaded } from '../../src/raft/ports.ts';
import { inspectDirectory } from '../../src/storage/inspect.ts';
import { NodeDisk } from '../../src/storage/node-disk.ts';
import { scanSegment } from '../../src/storage/segment-reader.ts';
import { realDirectory } from '../conformance/disk.ts';
import { append, collect, entry, storeOn, vote } from './store-support.ts';

const disk = new NodeDisk();
const fixtures = join(import.meta.dirname, '..', 'fixtures', 'samples');
const typeNumbers = { command: 1, barrier: 2, change: 3 };

async function unpack(t: Test, archive: string): Promise<string[]> {
  const directory = join(await realDirectory(t), archive);
  await mkdir(directory);
  execFileSync('tar', ['-xzf', join(fixtures, `${archive}.tar.gz`), '-C', directory]);
  return (await readdir(directory)).sort().map((name) => join(directory, name));
}

/** Lines of the listing by directory. */
function listing(): Map<string, string[]> {
  const text = gunzipSync(readFileSync(join(fixtures, 'decoded.txt.gz'))).toString();
  const sections = text.split('directory ').slice(1);
  return new Map(
    sections.map((section) => {
      const [node = '', ...lines] = section.trimEnd().split('\n');
      return [node, lines];
    }),
  );
}

/** The same lines as our reader sees them. */
async function linesOf(directory: string): Promise<string[]> {
  const lines: string[] = [];
  for (const name of (await readdir(directory)).sort()) {
    if (!/^(\d{16}-|open-)/.test(name)) continue;
    const closed = name.startsWith('0');
    const first = (closed ? Number(name.slice(0, 16)) : 1) as Index;
    const file = await disk.openForReading(join(directory, name));
    await scanSegment(file, first, ({ offset, entries }) => {
      for (const { index, term, type, data } of entries) {
        const shown = closed ? index : 'None';
        lines.push(
          `${name} ${offset} True True ${shown} ${term} ${typeNumbers[type]} ${data.length}`,
        );
      }
    });
    await file.close();
  }
  return lines;
}

/** What the README and the names of the files promise: last index, last term, snapshot, term. */
const expected: Record<string, readonly [number, number, number, number]> = {
  'goapp_dirs/n1': [8, 1, 0, 2],
  'goapp_dirs/n2': [10, 2, 0, 3],
  'goapp_dirs/n3': [10, 2, 0, 3],
  'goapp_dirs/n4': [10, 2, 0, 2],
  'head_clean/n1': [98, 3, 96, 3],
  'head_clean/n2': [98, 3, 96, 3],
  'head_clean/n3': [98, 3, 96, 3],
  'head_crash/n1': [96, 2, 96, 2],
  'head_crash/n2': [96, 2, 96, 2],
  'head_crash/n3': [96, 2, 96, 2],
  'head_multipage_vacuum_delete_crash/head_multi': [11, 1, 0, 1],
  'mixed_HEADleader_crash/n1': [95, 2, 64, 2],
  'mixed_HEADleader_crash/n2': [95, 2, 64, 2],
  'mixed_HEADleader_crash/n3': [95, 2, 64, 2],
  'mixed_v111leader_crash/n1': [95, 2, 64, 2],
  'mixed_v111leader_crash/n2': [95, 2, 64, 2],
  'mixed_v111leader_crash/n3': [95, 2, 64, 2],
  'recovered_config_term1/rec': [97, 1, 96, 3],
  'snapshot_uncompressed_head_crash/base_unc': [42, 1, 32, 1],
  'truncated_log_head_crash/n1': [16, 2, 0, 2],
  'truncated_log_head_crash/n2': [16, 2, 0, 2],
  'truncated_log_head_crash/n3': [16, 2, 0, 2],
  'v111_clean/n1': [96, 3, 96, 3],
  'v111_clean/n2': [96, 3, 96, 3],
  'v111_clean/n3': [96, 3, 96, 3],
  'v111_crash/n1': [95, 2, 64, 2],
  'v111_crash/n2': [95, 2, 64, 2],
  'v111_crash/n3': [95, 2, 64, 2],
  'v111_defaults_1100rows_crash/v111_defaults': [1104, 1, 1024, 1],
};

const decoded = listing();
const met: string[] = [];

function summary({ entries, snapshot, vote }: Loaded): readonly number[] {
  const last = entries.at(-1);
  return [last?.index ?? 0, last?.term ?? 0, snapshot?.index ?? 0, vote.term];
}

for (const archive of readdirSync(fixtures)
  .filter((name) => name.endsWith('.tar.gz'))
  .sort()) {
  const name = archive.slice(0, -'.tar.gz'.length);
  t.test(`${name} of C dqlite`, async (t) => {
    for (const directory of await unpack(t, name)) {
      const node = directory.slice(-(name.length + 1 + (directory.split('/').at(-1) ?? '').length));
      met.push(node);
      t.test(`${node} is read, loaded and used`, (t) => useDirectory(t, node, directory));
    }
  });
}

async function useDirectory(t: Test, node: string, directory: string): Promise<void> {
  const lines = decoded.get(node);
  if (lines !== undefined) t.same(await linesOf(directory), lines, 'as the other decoder saw it');

  const before = await readdir(directory);
  const report = await inspectDirectory(disk, directory);
  t.same(await readdir(directory), before, 'looking changes nothing');
  t.same(report.findings, [], 'nothing is wrong with it');
  t.ok(report.startable);
  t.equal(report.inUseBy, undefined);
  t.ok(report.configuration, 'the members are known');

  const store = storeOn(disk, directory, { trailingEntries: 32 });
  const loaded = await store.load();
  t.same(summary(loaded), expected[node]);
  t.equal(report.lastIndex, loaded.entries.at(-1)?.index);
  t.equal(report.lastTerm, loaded.entries.at(-1)?.term);
  const gap = loaded.entries.findIndex(
    (one, at) => one.index !== (loaded.entries[0]?.index ?? 0) + at,
  );
  t.equal(gap, -1, 'no gap');
  const snapshotIndex = loaded.snapshot?.index ?? 0;
  const first = loaded.entries[0]?.index ?? 0;
  t.ok(first <= snapshotIndex + 1 && first > snapshotIndex - 32, 'trailing entries as asked for');
  if (loaded.snapshot) {
    const data = await store.openSnapshot(loaded.snapshot);
    const bytes = await collect(data.chunks());
    t.equal(bytes.length, data.sizeBytes);
    t.equal(bytes.readBigUInt64LE(0), 1n, 'format of the content');
    t.ok(bytes.includes('test'), 'the database is in it');
    data.release();
  }

  const [last = 0, , , term = 0] = expected[node] ?? [];
  await store.persist(vote(term + 1));
  await store.persist(append(entry(last + 1, term + 1, 4144)));
  await store.close();
  t.same(
    (await readdir(directory)).filter((name) => name.startsWith('open-')),
    [],
  );
  const again = await storeOn(disk, directory).load();
  t.same(summary(again), [last + 1, term + 1, snapshotIndex, term + 1]);
  const changed = loaded.entries.filter((one) => {
    const same = again.entries[one.index - (again.entries[0]?.index ?? 0)];
    return same?.term !== one.term || same.type !== one.type || !same.data.equals(one.data);
  });
  t.same(changed, [], 'the entries are unchanged');
}

t.test('every directory of the listing was met', async (t) => {
  t.same(met.toSorted(), Object.keys(expected).toSorted());
  t.same(
    [...decoded.keys()].filter((node) => !met.includes(node)),
    [],
  );
});
