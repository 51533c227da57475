import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import type { Clock } from '../../src/base/clock.ts';
import type { Index, Instant, ServerId, Term } from '../../src/base/ids.ts';
import type { Applied, Change, Transition } from '../../src/raft/events.ts';
import type { StateMachine } from '../../src/raft/ports.ts';
import type { Snapshot } from '../../src/raft/types.ts';
import { RaftConsensus, type RaftRequest } from '../../src/server/raft-consensus.ts';
import { SharedLease } from '../../src/server/raft-lease.ts';

const leading: Transition = {
  state: 'leader',
  term: 3 as Term,
  leader: { id: 1n as ServerId, address: 'a' },
  ready: true,
  transferring: false,
  configuration: { servers: [] },
};
const command = Buffer.alloc(8);

/** Sessions' side of a Raft that is played by the test. */
function bench() {
  const requests: RaftRequest[] = [];
  const transitions: Transition[] = [];
  const machine: StateMachine = {
    apply: () => {},
    transition: (transition) => transitions.push(transition),
    takeSnapshot: () => {
      throw new Error('nobody asks');
    },
    restore: async () => {},
  };
  const access = { request: (one: RaftRequest) => requests.push(one), leaseHeld: () => true };
  const consensus = new RaftConsensus(1n as ServerId, machine, access);
  consensus.machine.transition(leading);
  return { consensus, requests, transitions };
}

t.test('nothing is proposed behind a transfer, and everything again when it fails', async (t) => {
  const { consensus, requests, transitions } = bench();
  consensus.propose(leading.term, command);
  const transfer = consensus.transfer(undefined);
  t.same(
    requests.map(({ type }) => type),
    ['propose', 'transfer'],
  );
  t.equal(transitions.at(-1)?.transferring, true, 'the machine knows at once, before Raft');
  t.equal(consensus.transition.transferring, true);
  t.throws(() => consensus.propose(leading.term, command), /while leadership is handed over/);

  const why = 'transferFailed';
  consensus.settle({ ticket: requests.at(-1)?.ticket ?? 0, outcome: 'refused', why });
  await t.rejects(transfer, { code: 'transferFailed' });
  t.equal(transitions.at(-1)?.transferring, false);
  consensus.propose(leading.term, command);
});

t.test('the machine hears of the end of the leadership, not that it goes on', async (t) => {
  const { consensus, requests, transitions } = bench();
  const transfer = consensus.transfer(2n as ServerId);
  const index = 0 as Index;
  consensus.settle({ ticket: requests.at(-1)?.ticket ?? 0, outcome: 'done', index });
  consensus.machine.transition({ ...leading, state: 'follower', leader: undefined, ready: false });
  await transfer;
  t.same(
    transitions.map(({ state, transferring }) => [state, transferring]),
    [
      ['leader', false],
      ['leader', true],
      ['follower', false],
    ],
  );
});

t.test('two transfers at once: writes go on when both have ended', async (t) => {
  const { consensus, requests } = bench();
  const first = consensus.transfer(undefined);
  const second = consensus.transfer(undefined);
  for (const [at, transfer] of [second, first].entries()) {
    const ticket = requests.at(-1 - at)?.ticket ?? 0;
    consensus.settle({ ticket, outcome: 'refused', why: 'serverNotLeader' });
    await t.rejects(transfer);
    t.equal(consensus.transition.transferring, at === 0);
  }
});

t.test('nothing is proposed behind the own removal or demotion', async (t) => {
  const [self, other] = [1n as ServerId, 2n as ServerId];
  const changes: [Change, boolean][] = [
    [{ kind: 'remove', id: self }, true],
    [{ kind: 'assign', id: self, role: 'standby' }, true],
    [{ kind: 'assign', id: self, role: 'voter' }, false],
    [{ kind: 'remove', id: other }, false],
    [{ kind: 'assign', id: other, role: 'spare' }, false],
  ];
  for (const [change, last] of changes) {
    const { consensus, requests } = bench();
    const changed = consensus.change(change);
    t.equal(consensus.transition.transferring, last, JSON.stringify(change, printable));
    const ticket = requests.at(-1)?.ticket ?? 0;
    consensus.settle({ ticket, outcome: 'refused', why: 'changeInProgress' });
    await t.rejects(changed);
    t.equal(consensus.transition.transferring, false);
  }
});

function printable(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

t.test(
  'a read behind a snapshot is confirmed when the snapshot is in place, not before',
  async (t) => {
    const ends: (() => void)[] = [];
    const machine: StateMachine = {
      apply: () => {},
      transition: () => {},
      takeSnapshot: () => {
        throw new Error('nobody asks');
      },
      restore: () => new Promise((resolve) => ends.push(resolve)),
    };
    const requests: RaftRequest[] = [];
    const access = { request: (one: RaftRequest) => requests.push(one), leaseHeld: () => true };
    const consensus = new RaftConsensus(1n as ServerId, machine, access);
    const entryAt = (index: number): Applied => ({
      entry: { index: index as Index, term: leading.term, type: 'command', data: command },
      ticket: undefined,
    });
    const snapshotAt = (index: number): Snapshot => ({
      meta: {
        index: index as Index,
        term: leading.term,
        configuration: { servers: [] },
        configurationIndex: 1 as Index,
      },
      data: { sizeBytes: 0, chunks: async function* () {}, release: () => {} },
    });

    consensus.machine.apply([entryAt(5)]);
    const restores = [20, 30].map((index) => consensus.machine.restore(snapshotAt(index)));
    consensus.machine.apply([entryAt(31)]);
    const confirmed: number[] = [];
    for (const index of [5, 20, 31]) {
      const read = consensus.confirmLeadership().then(() => confirmed.push(index));
      t.teardown(() => read);
      const ticket = requests.at(-1)?.ticket ?? 0;
      consensus.settle({ ticket, outcome: 'done', index: index as Index });
    }
    await nextTurn();
    t.same(confirmed, [5]);

    ends[0]?.();
    await restores[0];
    await nextTurn();
    t.same(confirmed, [5], 'the newer one is still on its way');
    ends[1]?.();
    await restores[1];
    await nextTurn();
    t.same(confirmed, [5, 20, 31]);
  },
);

t.test('a lease of a later leadership proves nothing to who knows an earlier one', (t) => {
  const clock: Clock = {
    now: () => 10 as Instant,
    after: () => ({ cancel: () => {} }),
    nextTurn: () => {},
  };
  const served = new SharedLease(clock);
  const granted = new SharedLease(clock, served.memory);
  const machine: StateMachine = {
    apply: () => {},
    transition: () => {},
    takeSnapshot: () => {
      throw new Error('nobody asks');
    },
    restore: async () => {},
  };
  const leaseHeld = (term: Term): boolean => served.held(term);
  const consensus = new RaftConsensus(1n as ServerId, machine, { request: () => {}, leaseHeld });
  consensus.machine.transition(leading);
  t.notOk(consensus.leaseHeld(), 'none was granted');

  granted.set(20 as Instant, leading.term);
  t.ok(consensus.leaseHeld());

  granted.set(Number.NEGATIVE_INFINITY as Instant, 4 as Term);
  granted.set(20 as Instant, 5 as Term);
  t.notOk(consensus.leaseHeld(), 'leadership was lost and won again, unheard of here');

  consensus.machine.transition({ ...leading, term: 5 as Term });
  t.ok(consensus.leaseHeld());

  granted.set(10 as Instant, 5 as Term);
  t.notOk(consensus.leaseHeld(), 'it ends at its instant');
  t.end();
});
