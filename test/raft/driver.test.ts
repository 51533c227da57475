import t, { type Test } from 'tap';
import type { Instant, Term } from '../../src/base/ids.ts';
import { nullLogger } from '../../src/base/logger.ts';
import { seededRandom } from '../../src/base/random.ts';
import { encodeConfiguration } from '../../src/protocol/configuration.ts';
import { Driver } from '../../src/raft/driver.ts';
import type { Applied, Outbound, Persist, Settlement, Transition } from '../../src/raft/events.ts';
import type { RaftStore } from '../../src/raft/ports.ts';
import type { RaftOptions } from '../../src/raft/raft.ts';
import type { Role, Snapshot, SnapshotMeta } from '../../src/raft/types.ts';
import { commandOf, id, index, members, TestSnapshotData, term, testOptions } from './cluster.ts';

/** A driver over ports that record what they are told, on a clock that stands still until it is moved. */
class Bench {
  readonly events: string[] = [];
  readonly sent: Outbound[] = [];
  readonly writes: { write: Persist; resolve: () => void; reject: (error: Error) => void }[] = [];
  readonly timers: { at: number; run: () => void; live: boolean }[] = [];
  readonly snapshots: TestSnapshotData[] = [];
  readonly driver: Driver;
  now = 0;
  snapshotFails = false;

  constructor(roles: Record<number, Role>, options: Partial<RaftOptions> = {}) {
    const data = encodeConfiguration(members(roles));
    const bootstrap = { index: index(1), term: term(1), type: 'change' as const, data };
    const store: RaftStore = {
      load: async () => ({
        vote: { term: term(1), votedFor: undefined },
        snapshot: undefined,
        entries: [bootstrap],
      }),
      persist: (write) => {
        this.events.push(`persist ${write.write}`);
        return new Promise((resolve, reject) => this.writes.push({ write, resolve, reject }));
      },
      writeSnapshot: async ({ meta }) => {
        this.events.push(`write snapshot ${meta.index}`);
        if (this.snapshotFails) throw new Error('disk is full');
      },
      openSnapshot: async () => this.#snapshot(),
      receiveSnapshot: async (meta) => ({ meta, data: this.#snapshot() }),
      close: async () => {},
    };
    this.driver = new Driver({
      options: testOptions(id(1), options),
      store,
      transport: {
        send: (outbound) => {
          this.sent.push(outbound);
          this.events.push(`send ${outbound.message.kind}`);
        },
        flush: () => this.events.push('flush'),
        sendSnapshot: async () => true,
      },
      machine: {
        apply: (applied: readonly Applied[]) => this.events.push(`apply ${applied.length}`),
        transition: ({ state, ready }: Transition) =>
          this.events.push(`${state}${ready ? ' ready' : ''}`),
        takeSnapshot: () => this.#snapshot(),
        restore: async ({ meta }: Snapshot) => {
          this.events.push(`restore ${meta.index}`);
        },
      },
      clock: {
        now: () => this.now as Instant,
        after: (delayMs, run) => {
          const timer = { at: this.now + delayMs, run, live: true };
          this.timers.push(timer);
          return {
            cancel: () => {
              timer.live = false;
            },
          };
        },
        nextTurn: () => {
          throw new Error('what is to be done is done at once');
        },
      },
      random: seededRandom(1),
      logger: nullLogger,
      onSettle: ({ ticket, outcome }: Settlement) => this.events.push(`${ticket} ${outcome}`),
      onLease: (until) => this.events.push(until > this.now ? 'lease' : 'no lease'),
      fatal: (error) => this.events.push(`fatal ${(error as Error).message}`),
    });
  }

  #snapshot(): TestSnapshotData {
    const data = new TestSnapshotData({ index: 0, commands: 0 });
    this.snapshots.push(data);
    return data;
  }

  /** Finishes the oldest write; what follows from it has happened when this resolves. */
  async finish(error?: Error): Promise<void> {
    const next = this.writes.shift();
    if (error === undefined) next?.resolve();
    else next?.reject(error);
    await settled();
  }

  async lead(): Promise<Term> {
    await this.driver.start();
    while (this.writes.length > 0) await this.finish();
    this.events.length = 0;
    return this.driver.transition?.term ?? term(0);
  }
}

/** Lets promises that have settled call back. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

t.test('a sole voter leads when its vote and its barrier are durable', async (t) => {
  const bench = new Bench({ 1: 'voter' });
  await bench.driver.start();
  t.same(bench.events, ['follower', 'persist 1', 'candidate']);
  await bench.finish();
  await bench.finish();
  t.same(bench.events.slice(3), ['persist 2', 'leader', 'lease', 'apply 2', 'leader ready']);
  bench.now = 10_000;
  const asleep = bench.timers.splice(0).filter((timer) => timer.live);
  for (const timer of asleep) timer.run();
  t.same(bench.timers, [], 'an idle daemon does not wake up');
});

t.test('proposals that came together are written together, whatever is under way', async (t) => {
  const bench = new Bench({ 1: 'voter' });
  const leadership = await bench.lead();
  propose(bench, leadership, 1);
  propose(bench, leadership, 2, 3, 4);
  t.same(
    bench.writes.map(({ write }) => write.append.length),
    [1, 3],
  );
  await bench.finish();
  await bench.finish();
  t.same(bench.events, ['persist 3', 'persist 4', 'apply 1', 'apply 3']);
  t.equal(bench.driver.appliedBytes, encodedBytes + 8 + 4 * 8);
});

function propose(bench: Bench, inTerm: Term, ...tickets: number[]): void {
  const proposals = tickets.map((ticket) => ({ ticket, command: commandOf('x') }));
  bench.driver.propose(inTerm, proposals);
}

const encodedBytes = encodeConfiguration(members({ 1: 'voter' })).length;

t.test('a proposal of another leadership is refused', async (t) => {
  const bench = new Bench({ 1: 'voter' });
  const leadership = await bench.lead();
  propose(bench, leadership, 1);
  propose(bench, term(leadership - 1), 2);
  propose(bench, leadership, 3);
  t.match(bench.events, ['persist 3', '2 refused', 'persist 4']);
});

t.test('answers leave when the write they depend on is durable', async (t) => {
  const bench = new Bench({ 1: 'voter', 2: 'voter', 3: 'voter' });
  await bench.driver.start();
  const from = { id: id(2), address: 's2' };
  bench.now = 5000;
  bench.driver.received(from, {
    kind: 'appendEntries',
    term: term(2),
    prevIndex: index(1),
    prevTerm: term(1),
    leaderCommit: index(1),
    entries: [{ index: index(2), term: term(2), type: 'barrier', data: Buffer.alloc(8) }],
    round: 7,
  });
  t.equal(bench.sent.length, 0);
  await bench.finish();
  t.match(bench.sent[0]?.message, { kind: 'appendEntriesResult', lastIndex: 2, round: 7 });
});

t.test('a failed write is fatal: nothing is answered, written or settled after it', async (t) => {
  const bench = new Bench({ 1: 'voter' });
  const leadership = await bench.lead();
  propose(bench, leadership, 1);
  await bench.finish(new Error('bad disk'));
  t.same(bench.events, ['persist 3', 'fatal bad disk']);
  propose(bench, leadership, 2);
  t.same(bench.events.slice(2), ['2 refused']);
});

t.test(
  'what a leader proposes is on its way to the others before its own disk is asked',
  async (t) => {
    const bench = new Bench({ 1: 'voter', 2: 'voter', 3: 'voter' });
    const leadership = await elected(bench);
    for (const from of [2, 3]) await answer(bench, leadership, 2, from);
    while (bench.writes.length > 0) await bench.finish();
    bench.events.length = 0;
    propose(bench, leadership, 1);
    t.same(bench.events, ['send appendEntries', 'send appendEntries', 'flush', 'persist 3']);
  },
);

t.test('the lease ends before the order to take over leaves', async (t) => {
  const bench = new Bench({ 1: 'voter', 2: 'voter' });
  const leadership = await elected(bench);
  await answer(bench, leadership, 2, 2);
  t.ok(bench.driver.leaseUntil > bench.now);
  bench.events.length = 0;
  bench.driver.transfer(9, undefined);
  t.same(bench.events.slice(0, 2), ['no lease', 'send timeoutNow']);
});

t.test('the order to take over leaves when what was proposed before it is committed', async (t) => {
  const bench = new Bench({ 1: 'voter', 2: 'voter', 3: 'voter' });
  const leadership = await elected(bench);
  const answers = async (last: number) => {
    for (const from of [2, 3]) await answer(bench, leadership, last, from);
  };
  await answers(2);
  while (bench.writes.length > 0) await bench.finish();
  propose(bench, leadership, 1);
  // Our own disk is busy with both; the others commit the first.
  propose(bench, leadership, 2);
  await answers(3);
  bench.events.length = 0;
  bench.driver.transfer(9, undefined);
  t.notOk(bench.events.includes('send timeoutNow'), 'not before everything is committed');
  await answers(4);
  t.same(bench.events.slice(-2), ['send timeoutNow', 'apply 1']);
});

/** Server 2 grants everything. */
async function elected(bench: Bench): Promise<Term> {
  await bench.driver.start();
  bench.now = 5000;
  bench.timers.find(({ live }) => live)?.run();
  const from = { id: id(2), address: 's2' };
  for (const preVote of [true, false]) {
    bench.driver.received(from, {
      kind: 'requestVoteResult',
      term: term(2),
      granted: true,
      preVote,
    });
    await bench.finish();
  }
  return term(2);
}

async function answer(bench: Bench, inTerm: Term, last: number, from: number): Promise<void> {
  bench.driver.received(
    { id: id(from), address: `s${from}` },
    {
      kind: 'appendEntriesResult',
      term: inTerm,
      rejected: index(0),
      lastIndex: index(last),
      round: 1,
    },
  );
  await bench.finish();
}

t.test('a leader wakes for its heartbeats, and only for them', async (t) => {
  const bench = new Bench({ 1: 'voter', 2: 'voter' });
  await elected(bench);
  const live = () => bench.timers.filter((timer) => timer.live && timer.at > bench.now);
  t.equal(live().length, 1);
  const electedAt = bench.now;
  bench.events.length = 0;
  // The timer of the candidate finds that there is nothing to do before the heartbeat.
  while (bench.now < electedAt + 100) {
    const [timer] = live();
    bench.now = timer?.at ?? Number.POSITIVE_INFINITY;
    t.same(bench.events, []);
    timer?.run();
  }
  t.equal(bench.now, electedAt + 100);
  t.same(bench.events, ['send appendEntries']);
});

t.test('a snapshot is taken of the machine as it is, written, and released', async (t) => {
  const bench = new Bench({ 1: 'voter' }, { snapshotThreshold: 3 });
  const leadership = await bench.lead();
  propose(bench, leadership, 1);
  await bench.finish();
  t.same(bench.events, ['persist 3', 'apply 1', 'write snapshot 3']);
  t.equal(bench.driver.status()?.snapshotIndex, 3);
  t.same(
    bench.snapshots.map(({ released }) => released),
    [1],
  );
});

t.test('a few large entries make a snapshot due as many small ones do', async (t) => {
  const bench = new Bench({ 1: 'voter' }, { snapshotThresholdBytes: 1000 });
  const leadership = await bench.lead();
  const command = Buffer.alloc(400);
  for (const ticket of [1, 2, 3]) {
    bench.driver.propose(leadership, [{ ticket, command }]);
    await bench.finish();
  }
  t.equal(bench.driver.status()?.snapshotIndex, 4, 'as soon as the third is in the log');
});

t.test('a snapshot that cannot be written is released and tried again later', async (t) => {
  const bench = new Bench({ 1: 'voter' }, { snapshotThreshold: 3 });
  const leadership = await bench.lead();
  bench.snapshotFails = true;
  propose(bench, leadership, 1);
  await bench.finish();
  t.equal(bench.driver.status()?.snapshotIndex, 0);
  t.same(
    bench.snapshots.map(({ released }) => released),
    [1],
  );
  bench.snapshotFails = false;
  propose(bench, leadership, 2);
  await bench.finish();
  t.equal(bench.driver.status()?.snapshotIndex, 4);
});

t.test('a received snapshot is kept until it is on disk and in the machine', async (t) => {
  const bench = new Bench({ 1: 'voter', 2: 'voter' });
  await bench.driver.start();
  const data = await received(t, bench);
  t.same(bench.events.slice(1), ['persist 1', 'restore 9', 'follower']);
  t.equal(data.released, 0);
  await bench.finish();
  t.equal(data.released, 1);
  t.match(bench.sent[0]?.message, { kind: 'appendEntriesResult', rejected: 0, lastIndex: 9 });
});

async function received(_t: Test, bench: Bench): Promise<TestSnapshotData> {
  const data = new TestSnapshotData({ index: 9, commands: 0 });
  const meta: SnapshotMeta = {
    index: index(9),
    term: term(2),
    configuration: members({ 1: 'voter', 2: 'voter' }),
    configurationIndex: index(1),
  };
  const from = { id: id(2), address: 's2' };
  const snapshot = { meta, data };
  bench.driver.received(from, { kind: 'installSnapshot', term: term(2), snapshot });
  await settled();
  return data;
}

t.test('before the start and after the end everything is refused, and nothing leaks', async (t) => {
  const bench = new Bench({ 1: 'voter' });
  bench.driver.read(1);
  const leadership = await bench.lead();
  propose(bench, leadership, 2);
  const stopped = bench.driver.stop();
  bench.driver.change(3, { kind: 'remove', id: id(2) });
  const data = await received(t, bench);
  t.equal(data.released, 1);
  await bench.finish();
  await stopped;
  t.same(bench.events, ['persist 3', '3 refused'], 'the write under way is waited for');
});
