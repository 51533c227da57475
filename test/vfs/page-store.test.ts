import t from 'tap';
import { assert } from '../../src/base/assert.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { Database } from '../../src/vfs/database.ts';
import { MainFile } from '../../src/vfs/main-file.ts';
import { claimedPageCount, emptyDatabasePage, presentToSqlite } from '../../src/vfs/page-one.ts';
import { PageSlabs } from '../../src/vfs/page-slabs.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import type { Snapshot } from '../../src/vfs/snapshot.ts';
import { lockLevel, resultCode } from '../../src/vfs/sqlite-codes.ts';
import { TemporaryFile, TemporarySpace } from '../../src/vfs/temporary-file.ts';

t.test('pages come from slabs of 1 MiB and are recycled', (t) => {
  const slabs = new PageSlabs();
  const pages = Array.from({ length: 300 }, () => slabs.take());
  t.same([slabs.livePages, slabs.reservedBytes], [300, 2 * 1024 * 1024]);
  t.equal(new Set(pages.map((page) => `${page.byteOffset}`)).size, 256);
  for (const page of pages) slabs.give(page);
  for (let i = 0; i < 512; i++) slabs.take();
  t.same([slabs.livePages, slabs.reservedBytes], [512, 2 * 1024 * 1024]);
  t.end();
});

t.test('slabs without a page in use are given back, others stay', (t) => {
  const slabs = new PageSlabs();
  const pages = Array.from({ length: 40 * 256 }, () => slabs.take());
  const kept = pages.filter((_, i) => i % 2560 === 0);
  const marks = kept.map((page, i) => page.fill(i));
  for (const [i, page] of pages.entries()) if (i % 2560 !== 0) slabs.give(page);
  t.equal(slabs.reservedBytes, 24 * 1024 * 1024);
  t.equal(slabs.livePages, kept.length);
  const again = Array.from({ length: 40 * 256 }, () => slabs.take().fill(0xff));
  t.ok(marks.every((page, i) => page.every((byte) => byte === i)));
  t.equal(new Set(again.map((page) => page.buffer)).size * 1024 * 1024, slabs.reservedBytes);
  t.end();
});

t.test('random transactions, pins, drops and commits show every snapshot its own pages', (t) => {
  const random = seededRandom(7);
  const store = new PageStore();
  const database = store.create('db');
  const pins: { snapshot: Snapshot; expected: Map<number, number> }[] = [];
  let committed = new Map([[1, 0]]);
  let chain: Map<number, number>[] = [];
  for (let i = 0; i < 5000; i++) {
    const head = chain.at(-1) ?? committed;
    const chance = random.int(0, 99);
    if (chance < 40) chain.push(publishRandom(database, head, random.int(1, 255), random));
    else if (chance < 70 && chain.length > 0) {
      database.commitOldest();
      committed = chain.shift() ?? committed;
    } else if (chance < 72) {
      database.dropSpeculative();
      chain = [];
    } else if (chance < 86) {
      const onHead = random.int(0, 1) === 1;
      const snapshot = onHead ? database.head : database.committed;
      database.pin(snapshot);
      pins.push({ snapshot, expected: onHead ? head : committed });
    } else if (pins.length > 0) {
      const [{ snapshot, expected }] = pins.splice(random.int(0, pins.length - 1), 1) as [Pin];
      if (!snapshot.dropped) checkPages(database, snapshot, expected);
      database.unpin(snapshot);
    }
  }
  for (const { snapshot } of pins) database.unpin(snapshot);
  while (database.speculativeCount > 0) database.commitOldest();
  t.equal(database.pinCount, 0);
  t.equal(database.countPages(), database.committedPageCount);
  t.equal(store.livePages, database.committedPageCount);
  database.close();
  t.equal(store.livePages, 0);
  t.end();
});

t.test('a long reader costs one old version of each page, however many follow', (t) => {
  const store = new PageStore();
  const database = store.create('db');
  const reader = database.pinCommitted();
  for (let i = 0; i < 1000; i++) {
    database.applyRemote([{ number: 1, content: emptyDatabasePage() }]);
  }
  t.equal(store.livePages, 2);
  reader.release();
  reader.release();
  t.equal(store.livePages, 1);
  t.end();
});

t.test('applied pages say how large the database is, by page 1 or by their numbers', (t) => {
  const database = new PageStore().create('db');
  const page = Buffer.alloc(4096, 3);
  const sized = (count: number) => {
    const pageOne = emptyDatabasePage();
    pageOne.writeUInt32BE(count, 28);
    return { number: 1, content: pageOne };
  };
  const sizes = [
    [sized(3), { number: 2, content: page }, { number: 3, content: page }],
    [{ number: 2, content: page }],
    [sized(2), { number: 3, content: page }],
    [{ number: 4, content: page }],
    [sized(0)],
  ].map((pages) => {
    database.applyRemote(pages);
    return database.committedPageCount;
  });
  t.same(sizes, [3, 3, 2, 4, 1]);
  t.equal(database.countPages(), 1);
  t.end();
});

t.test('an image replaces everything, and what is pinned stays', (t) => {
  const store = new PageStore();
  const database = store.create('db');
  const before = database.pinCommitted();
  const image = [emptyDatabasePage(), Buffer.alloc(4096, 1), Buffer.alloc(4096, 2)];
  database.restore(image);
  t.same([database.committedPageCount, before.pageCount], [3, 1]);
  database.restore([emptyDatabasePage()]);
  t.equal(database.committedPageCount, 1);
  before.release();
  t.equal(store.livePages, 1);
  t.end();
});

t.test('a doomed writer can neither read nor write nor finish, whatever SQLite tries', (t) => {
  const store = new PageStore();
  store.leading = true;
  const database = store.create('db');
  const file = new MainFile(database);
  const memory = Buffer.alloc(4096);
  t.same([file.lock(lockLevel.shared), file.lock(lockLevel.reserved)], [0, 0]);
  t.equal(file.write(memory, 0, 4096, 4096), resultCode.ok);
  database.dropSpeculative();
  const lost = resultCode.leadershipLost;
  t.same(
    [
      file.read(memory, 0, 4096, 0),
      file.write(memory, 0, 4096, 4096),
      file.truncate(4096),
      file.commitPhaseTwo(),
    ],
    [lost, lost, lost, lost],
  );
  file.unlock(lockLevel.shared);
  t.same([file.captured.length, file.read(memory, 0, 4096, 0)], [0, lost]);
  file.unlock(lockLevel.none);
  t.equal(file.lock(lockLevel.shared), resultCode.ok);
  t.equal(file.read(memory, 0, 4096, 0), resultCode.ok);
  file.abandon();
  t.equal(store.livePages, 1);
  t.end();
});

t.test('what SQLite sees of page 1 is a rollback-mode header with the given counter', (t) => {
  const page = emptyDatabasePage();
  const whole = Buffer.from(page);
  presentToSqlite(whole, 0, 0, 4096, 0xdeadbeef);
  t.same([whole[18], whole[19]], [1, 1]);
  t.same([whole.readUInt32BE(24), whole.readUInt32BE(92)], [0xdeadbeef, 0xdeadbeef]);
  const peek = Buffer.from(page.subarray(24, 40));
  presentToSqlite(peek, 0, 24, 16, 0xdeadbeef);
  t.equal(peek.readUInt32BE(0), 0xdeadbeef);
  t.equal(claimedPageCount(page), 1);
  t.end();
});

t.test(
  'a temporary file reads back what was written, with zeros between and a limit for all',
  (t) => {
    const space = new TemporarySpace(4 * 65_536);
    const file = new TemporaryFile(space);
    const model = Buffer.alloc(200_000);
    const random = seededRandom(3);
    let size = 0;
    const memory = Buffer.alloc(20_000);
    for (let i = 0; i < 500; i++) {
      const offset = random.int(0, 180_000);
      const length = random.int(1, 20_000);
      if (random.int(0, 9) === 0) {
        file.truncate(offset);
        if (offset < size) model.fill(0, offset);
        size = Math.min(size, offset);
        continue;
      }
      memory.fill(i & 0xff, 0, length);
      assert(file.write(memory, 0, length, offset) === resultCode.ok, 'there is room');
      memory.copy(model, offset, 0, length);
      size = Math.max(size, offset + length);
    }
    const back = Buffer.alloc(200_000, 9);
    t.equal(
      file.read(back, 0, 200_000, 0),
      size === 200_000 ? resultCode.ok : resultCode.shortRead,
    );
    t.ok(back.equals(model));
    t.equal(file.sizeBytes, size);
    for (let chunk = 0; chunk < 4; chunk++) file.write(memory, 0, 1, chunk * 65_536);
    t.equal(file.write(memory, 0, 10, 300_000), resultCode.full);
    file.close();
    t.equal(space.usedBytes, 0);
    t.end();
  },
);

interface Pin {
  readonly snapshot: Snapshot;
  readonly expected: Map<number, number>;
}

/** Changes a few pages of `head` and maybe its size; page `n` is filled with the mark it has in the model. */
function publishRandom(
  database: Database,
  head: Map<number, number>,
  mark: number,
  random: ReturnType<typeof seededRandom>,
): Map<number, number> {
  const pageCount = Math.max(1, head.size + random.int(-3, 3));
  const next = new Map<number, number>();
  for (let page = 1; page <= pageCount; page++) {
    const before = head.get(page);
    const changed = before === undefined || random.int(0, 3) === 0;
    next.set(page, changed ? mark : before);
  }
  const contents = new Map<number, Uint8Array>();
  for (const [page, value] of next) {
    if (head.get(page) !== value) contents.set(page, database.store.slabs.take().fill(value));
  }
  database.publish(contents, pageCount);
  return next;
}

function checkPages(database: Database, snapshot: Snapshot, expected: Map<number, number>): void {
  assert(snapshot.pageCount === expected.size, 'the size is that of the snapshot');
  for (const [number, mark] of expected) {
    const content = database.page(number, snapshot);
    const first = number === 1 && mark === 0 ? 0x53 : mark;
    assert(content !== undefined && content[0] === first, `page ${number}`);
    assert(mark === 0 || content[4095] === mark, `end of page ${number}`);
  }
}
