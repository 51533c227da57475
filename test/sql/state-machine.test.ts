import t from 'tap';
import type { DqliteError } from '../../src/base/errors.ts';
import type { Index, Term } from '../../src/base/ids.ts';
import { encodeCommand, encodeFrames, pageBytes } from '../../src/protocol/commands.ts';
import type { SnapshotMeta } from '../../src/raft/types.ts';
import { SqlStateMachine } from '../../src/sql/state-machine.ts';
import type { Waiter } from '../../src/sql/waiter.ts';
import type { Database } from '../../src/vfs/database.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';
import { drive } from '../support/drive.ts';
import { FakeConsensus } from '../support/fake-consensus.ts';

const limits = { maxDatabases: 3, maxSpeculativeTransactions: 2, maxSpeculativePages: 10 };

function setUp() {
  const store = new PageStore();
  const stopped: string[] = [];
  const clock = new VirtualClock();
  const machine = new SqlStateMachine({
    clock,
    store,
    limits,
    onStopped: (reason) => stopped.push(reason),
  });
  const consensus = new FakeConsensus();
  consensus.machine = machine;
  consensus.committing = false;
  const heard: string[] = [];
  machine.listen({
    leadershipReady: () => heard.push('ready'),
    placeChanged: () => {},
    leadershipLost: () => heard.push('lost'),
  });
  return { store, machine, consensus, stopped, heard, clock };
}

/** A page 1 that claims `pageCount` pages and carries a mark. */
function pageOne(pageCount: number, mark: number): Buffer {
  const page = Buffer.alloc(pageBytes, mark);
  page.writeUInt32BE(pageCount, 28);
  return page;
}

/** What a connection does when it commits: a page 1 with this mark becomes the head. */
function capture(database: Database, mark: number) {
  const page = database.store.slabs.take();
  page.set(pageOne(1, mark));
  return database.publish(new Map([[1, page]]), 1);
}

function markOf(database: Database): number {
  const page = Buffer.alloc(pageBytes);
  const image = database.pinCommitted();
  image.copyPage(1, page, 0);
  image.release();
  return page.readUInt8(200);
}

class Recorder implements Waiter {
  readonly log: string[] = [];
  resume(): void {
    this.log.push('resumed');
  }
  fail(error: DqliteError): void {
    this.log.push(error.code);
  }
}

const meta = (index: number): SnapshotMeta => ({
  index: index as Index,
  term: 1 as Term,
  configuration: { servers: [] },
  configurationIndex: 0 as Index,
});

async function* oneChunk(bytes: Uint8Array) {
  yield bytes;
}

t.test(
  'an own transaction becomes visible, and its waiter goes on, when its entry is applied',
  (t) => {
    const { machine, consensus } = setUp();
    consensus.lead();
    const replica = machine.open('db');
    const waiter = new Recorder();

    const transaction = capture(replica.database, 7);
    machine.submit(transaction, consensus);
    replica.whenCommitted(transaction.version, waiter);
    t.equal(markOf(replica.database), 0);
    t.strictSame(waiter.log, []);
    t.ok(consensus.waiting[0]?.command.equals(encodeFrames('db', transaction.pages)));

    consensus.commit();
    t.equal(markOf(replica.database), 7);
    t.strictSame(waiter.log, ['resumed']);
    t.end();
  },
);

t.test('waiters are called after the whole batch is applied, each for its own version', (t) => {
  const { machine, consensus } = setUp();
  consensus.lead();
  const { database } = machine.open('db');
  const replica = machine.open('db');
  const seen: number[] = [];
  for (const mark of [1, 2]) {
    const transaction = capture(database, mark);
    machine.submit(transaction, consensus);
    replica.whenCommitted(transaction.version, {
      resume: () => seen.push(markOf(database)),
      fail: () => seen.push(-1),
    });
  }

  consensus.commit(1);
  t.strictSame(seen, [1]);
  consensus.commit();
  t.strictSame(seen, [1, 2]);
  t.end();
});

t.test('a cancelled wait is not called', (t) => {
  const { machine, consensus } = setUp();
  consensus.lead();
  const replica = machine.open('db');
  const transaction = capture(replica.database, 1);
  machine.submit(transaction, consensus);
  const waiter = new Recorder();
  replica.whenCommitted(transaction.version, waiter).cancel();

  consensus.commit();

  t.strictSame(waiter.log, []);
  t.end();
});

t.test('speculation is bounded by transactions, and says when there is room again', (t) => {
  const { machine, consensus } = setUp();
  consensus.lead();
  const replica = machine.open('db');
  let told = 0;
  replica.onRoom = () => told++;
  t.ok(replica.hasRoom);
  for (const mark of [1, 2]) machine.submit(capture(replica.database, mark), consensus);
  t.notOk(replica.hasRoom);

  consensus.commit(1);

  t.ok(replica.hasRoom);
  t.equal(told, 1);
  t.end();
});

t.test(
  'losing leadership drops what is not committed and fails its waiters, before anyone else hears of it',
  (t) => {
    const { machine, consensus, heard, store } = setUp();
    consensus.lead();
    t.strictSame(heard, ['ready']);
    t.ok(store.leading);
    const replica = machine.open('db');
    machine.submit(capture(replica.database, 1), consensus);
    t.ok(machine.committing);
    consensus.commit();
    t.notOk(machine.committing);
    const transaction = capture(replica.database, 2);
    machine.submit(transaction, consensus);
    replica.whenCommitted(transaction.version, {
      resume: () => heard.push('resumed'),
      fail: ({ code }) => heard.push(`${code} ${replica.database.speculativeCount}`),
    });

    consensus.loseLeadership();

    t.strictSame(heard, ['ready', 'leadershipLost 0', 'lost']);
    t.notOk(machine.committing);
    t.equal(markOf(replica.database), 1);
    t.notOk(store.leading);
    t.equal(machine.leadingTerm, undefined);
    t.end();
  },
);

t.test('leading in another term without a pause is a loss and a gain', (t) => {
  const { consensus, heard } = setUp();
  consensus.lead();
  consensus.lead();
  t.strictSame(heard, ['ready', 'lost', 'ready']);
  t.end();
});

t.test('an elected leader waits until it is ready, and is told when that comes to nothing', (t) => {
  const { machine, consensus, heard } = setUp();
  consensus.lead(false);
  t.ok(machine.leadershipPending);
  t.equal(machine.leadingTerm, undefined);
  consensus.become({ ready: true });
  t.notOk(machine.leadershipPending);
  consensus.loseLeadership();
  consensus.lead(false);
  consensus.loseLeadership();
  t.strictSame(heard, ['ready', 'lost', 'lost']);
  t.end();
});

t.test('frames of another leader create the database and become visible at once', (t) => {
  const { machine, consensus } = setUp();
  const pages = [{ number: 1, content: pageOne(1, 9) }];
  consensus.commitForeign(encodeFrames('other', pages));
  const replica = machine.replicas.get('other');
  t.equal(replica && markOf(replica.database), 9);
  t.equal(machine.appliedIndex, 1);
  t.end();
});

t.test('open, undo and checkpoint commands and other entries only move the applied index', (t) => {
  const { machine, consensus } = setUp();
  consensus.commitForeign(encodeCommand({ kind: 'open', name: 'x' }));
  consensus.commitForeign(encodeCommand({ kind: 'undo', transaction: 3n }));
  consensus.commitForeign(encodeCommand({ kind: 'checkpoint', name: 'x' }));
  const barrier = {
    index: 4 as Index,
    term: 1 as Term,
    type: 'barrier',
    data: Buffer.alloc(8),
  } as const;
  machine.apply([{ entry: barrier, ticket: undefined }]);
  t.equal(machine.appliedIndex, 4);
  t.equal(machine.replicas.size, 0);
  t.end();
});

t.test('a command that cannot be decoded stops the machine, not the process', (t) => {
  const { machine, consensus, stopped, heard } = setUp();
  consensus.lead();
  consensus.commitForeign(encodeFrames('a', [{ number: 1, content: pageOne(1, 1) }]));
  consensus.commitForeign(Buffer.alloc(16, 0xff));
  consensus.commitForeign(encodeFrames('a', [{ number: 1, content: pageOne(1, 2) }]));

  t.equal(stopped.length, 1);
  t.match(stopped[0], /log entry 2 cannot be applied/);
  t.equal(machine.stopped, stopped[0]);
  t.equal(machine.appliedIndex, 1);
  t.equal(machine.leadingTerm, undefined);
  t.strictSame(heard, ['ready', 'lost']);
  const replica = machine.replicas.get('a');
  t.equal(replica && markOf(replica.database), 1);
  t.end();
});

t.test('clients cannot create more databases than allowed, the log can', (t) => {
  const { machine, consensus } = setUp();
  for (const name of ['a', 'b', 'c']) machine.open(name);
  t.throws(() => machine.open('d'), { code: 'tooManyDatabases' });
  t.ok(machine.open('a'));
  consensus.commitForeign(encodeFrames('d', [{ number: 1, content: pageOne(1, 1) }]));
  t.ok(machine.open('d'));
  t.end();
});

t.test(
  'a restore replaces everything, and entries that come meanwhile are applied after it',
  async (t) => {
    const source = setUp();
    source.consensus.commitForeign(encodeFrames('kept', [{ number: 1, content: pageOne(1, 5) }]));
    source.machine.open('opened and never written');
    const data = source.machine.takeSnapshot();
    const chunks: Uint8Array[] = [];
    const reading = (async () => {
      for await (const chunk of data.chunks()) chunks.push(chunk);
    })();
    await drive(source.clock, reading);
    const bytes = Buffer.concat(chunks);
    t.equal(bytes.length, data.sizeBytes);
    data.release();

    const { machine, consensus, clock } = setUp();
    consensus.commitForeign(encodeFrames('kept', [{ number: 1, content: pageOne(1, 1) }]));
    consensus.commitForeign(encodeFrames('gone', [{ number: 1, content: pageOne(1, 1) }]));
    const snapshot = { meta: meta(20), data: { ...data, chunks: () => oneChunk(bytes) } };
    const restored = machine.restore(snapshot);
    t.ok(machine.restoring);
    const later = encodeFrames('later', [{ number: 1, content: pageOne(1, 8) }]);
    machine.apply([
      {
        entry: { index: 21 as Index, term: 1 as Term, type: 'command', data: later },
        ticket: undefined,
      },
    ]);
    t.notOk(machine.replicas.has('later'));
    await drive(clock, restored);

    t.strictSame([...machine.replicas.keys()], ['kept', 'later']);
    const kept = machine.replicas.get('kept');
    t.equal(kept && markOf(kept.database), 5);
    t.equal(machine.appliedIndex, 21);
  },
);

t.test('a snapshot that cannot be read rejects and stops the machine', async (t) => {
  const { machine, stopped, clock } = setUp();
  const data = { sizeBytes: 8, chunks: () => oneChunk(Buffer.alloc(8, 7)), release: () => {} };
  const restored = machine.restore({ meta: meta(5), data });
  await t.rejects(drive(clock, restored), { name: 'WireError' });
  t.match(stopped[0], /snapshot of entry 5 cannot be read/);
});
