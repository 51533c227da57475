import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { pageBytes } from '../../src/protocol/commands.ts';
import { restoreDatabases } from '../../src/sql/snapshot-reader.ts';
import { snapshotOf } from '../../src/sql/snapshot-writer.ts';
import type { Database } from '../../src/vfs/database.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';
import { drive } from '../support/drive.ts';

function fixture(name: string): Buffer {
  return gunzipSync(readFileSync(join(import.meta.dirname, '../fixtures/snapshots', name)));
}

async function* chunksOf(bytes: Buffer, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function restore(bytes: Buffer, chunkBytes: number) {
  const store = new PageStore();
  const clock = new VirtualClock();
  const databases = new Map<string, Database>();
  const open = (name: string) => {
    const database = databases.get(name) ?? store.create(name);
    databases.set(name, database);
    return database;
  };
  await drive(clock, restoreDatabases(chunksOf(bytes, chunkBytes), open, clock));
  return { store, clock, databases };
}

function imageOf(database: Database): Buffer {
  const image = database.pinCommitted();
  const bytes = Buffer.alloc(image.pageCount * pageBytes);
  for (let i = 0; i < image.pageCount; i++) image.copyPage(i + 1, bytes, i * pageBytes);
  image.release();
  return bytes;
}

/** What the native SQLite shell says about an image. */
function shell(directory: string, database: Database | undefined, sql: string): string {
  if (database === undefined) return 'no such database';
  const file = join(directory, 'image.db');
  writeFileSync(file, imageOf(database));
  return execFileSync('sqlite3', [file, sql], { encoding: 'utf8' }).trim();
}

async function contentOf(databases: readonly Database[], clock: VirtualClock): Promise<Buffer> {
  const snapshot = snapshotOf(databases, clock);
  const chunks: Uint8Array[] = [];
  const read = async () => {
    for await (const chunk of snapshot.chunks()) chunks.push(chunk);
  };
  await drive(clock, read());
  snapshot.release();
  t.equal(Buffer.concat(chunks).length, snapshot.sizeBytes);
  return Buffer.concat(chunks);
}

for (const name of ['v111.bin.gz', 'head.bin.gz']) {
  for (const chunkBytes of [1_000_000, 4096, 777]) {
    t.test(`${name} in chunks of ${chunkBytes} bytes gives sound databases`, async (t) => {
      const { databases } = await restore(fixture(name), chunkBytes);
      t.strictSame([...databases.keys()], ['test', 'second']);
      const directory = t.testdir();
      for (const database of databases.values()) {
        t.equal(shell(directory, database, 'PRAGMA integrity_check'), 'ok');
      }
      const second = shell(
        directory,
        databases.get('second'),
        'SELECT count(*) FROM sqlite_schema',
      );
      t.equal(second, '1');
      t.match(shell(directory, databases.get('test'), 'SELECT count(*) FROM t'), /^\d+$/);
    });
  }
}

t.test('both forms of a snapshot of one history hold the same rows', async (t) => {
  const directory = t.testdir();
  const rows: string[] = [];
  for (const name of ['v111.bin.gz', 'head.bin.gz']) {
    const { databases } = await restore(fixture(name), 4096);
    rows.push(
      shell(directory, databases.get('test'), 'SELECT id, v, length(b) FROM t ORDER BY id'),
    );
  }
  t.ok((rows[0] ?? '').split('\n').length > 20);
  t.equal(rows[0], rows[1]);
});

t.test('what was restored from 1.18.6 is written again byte for byte', async (t) => {
  const bytes = fixture('head.bin.gz');
  const { databases, clock } = await restore(bytes, 4096);
  const written = await contentOf([...databases.values()], clock);
  t.ok(written.equals(bytes));
});

t.test('a snapshot stays as it was while writers go on, and frees what it kept', async (t) => {
  const { databases, store, clock } = await restore(fixture('head.bin.gz'), 4096);
  const database = databases.get('test');
  if (database === undefined) throw new Error('no database');
  const before = imageOf(database);
  const snapshot = snapshotOf([database], clock);
  const pagesBefore = store.livePages;
  const changed = Buffer.from(before.subarray(pageBytes, 2 * pageBytes)).fill(1, 100);
  database.applyRemote([{ number: 2, content: changed }]);
  t.equal(store.livePages, pagesBefore + 1);

  const read: Uint8Array[] = [];
  const reading = async () => {
    for await (const chunk of snapshot.chunks()) read.push(chunk);
  };
  await drive(clock, reading());
  t.ok(Buffer.concat(read).subarray(-before.length).equals(before));
  snapshot.release();
  snapshot.release();
  t.equal(store.livePages, pagesBefore);
});

t.test('a large database is read in slices, with a turn of the loop between them', async (t) => {
  const store = new PageStore();
  const clock = new VirtualClock();
  const database = store.create('large');
  const pageCount = 200;
  const first = Buffer.alloc(pageBytes);
  first.writeUInt32BE(pageCount, 28);
  database.applyRemote([
    { number: 1, content: first },
    { number: pageCount, content: Buffer.alloc(pageBytes, 3) },
  ]);
  const sizes: number[] = [];
  let turns = 0;
  const nextTurn = clock.nextTurn.bind(clock);
  clock.nextTurn = (run) => {
    turns++;
    nextTurn(run);
  };
  const snapshot = snapshotOf([database], clock);
  await drive(
    clock,
    (async () => {
      for await (const chunk of snapshot.chunks()) sizes.push(chunk.length / pageBytes);
    })(),
  );
  snapshot.release();
  t.strictSame(sizes.slice(2), [64, 64, 64, 8]);
  t.equal(turns, 4);
});

t.test('bytes that are no snapshot are refused', async (t) => {
  const sound = fixture('head.bin.gz');
  const wal = fixture('v111.bin.gz');
  const changed = (bytes: Buffer, change: (copy: Buffer) => void) => {
    const copy = Buffer.from(bytes);
    change(copy);
    return copy;
  };
  const cases: [name: string, bytes: Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['cut short', sound.subarray(0, 9000)],
    ['an unknown format', changed(sound, (copy) => copy.writeUInt8(2, 0))],
    ['a huge count', changed(sound, (copy) => copy.fill(255, 8, 16))],
    ['a name without an end', changed(sound, (copy) => copy.fill(65, 16))],
    ['part of a page', changed(sound, (copy) => copy.writeUInt32LE(8193, 24))],
    [
      'another number of pages than page 1 says',
      changed(sound, (copy) => copy.writeUInt32BE(9, 68)),
    ],
    ['part of a frame', changed(wal, (copy) => copy.writeUInt32LE(251351, 32))],
    ['another page size', changed(wal, (copy) => copy.writeUInt32BE(512, 40 + 4096 + 8))],
    ['a frame of page 0', changed(wal, (copy) => copy.writeUInt32BE(0, 40 + 4096 + 32))],
  ];
  for (const [name, bytes] of cases) {
    await t.rejects(restore(bytes, 4096), { name: 'WireError' }, name);
  }
});

t.test('the last of a WAL is ignored when its transaction did not end', async (t) => {
  const bytes = fixture('v111.bin.gz');
  const frameBytes = 24 + pageBytes;
  const walAt = 40 + 4096;
  const lastFrame = walAt + 251352 - frameBytes;
  t.not(bytes.readUInt32BE(lastFrame + 4), 0);
  const whole = await restore(bytes, 4096);
  const cut = Buffer.from(bytes);
  cut.writeUInt32BE(0, lastFrame + 4);
  const { databases } = await restore(cut, 4096);
  const directory = t.testdir();
  t.equal(shell(directory, databases.get('test'), 'PRAGMA integrity_check'), 'ok');
  const rows = 'SELECT * FROM t';
  t.not(
    shell(directory, databases.get('test'), rows),
    shell(directory, whole.databases.get('test'), rows),
  );
});
