import t, { type Test } from 'tap';
import { DqliteError } from '../../src/base/errors.ts';
import type { Index, Instant, ServerId } from '../../src/base/ids.ts';
import type { Logger } from '../../src/base/logger.ts';
import type { Transition } from '../../src/raft/events.ts';
import type { PeerStatus, RaftStatus } from '../../src/raft/status.ts';
import { AppendTimes } from '../../src/server/append-times.ts';
import { DiskHealth, quickerVoter } from '../../src/server/disk-health.ts';
import type { RaftNodeStatus } from '../../src/server/raft-node.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';

const electionTimeoutMs = 3000;
const now = 100_000 as Instant;

function peer(
  id: number,
  answerMs: number | undefined,
  rest: Partial<PeerStatus> = {},
): PeerStatus {
  return {
    id: BigInt(id) as ServerId,
    address: `${id}:9001`,
    role: 'voter',
    state: 'pipeline',
    match: 5000 as Index,
    next: 5001 as Index,
    heardAt: now,
    answerMs,
    ...rest,
  };
}

function leader(...peers: PeerStatus[]): RaftStatus {
  return { commitIndex: 5000, peers } as unknown as RaftStatus;
}

function chosen(raft: RaftStatus, appendMs: number | undefined): number | undefined {
  const found = quickerVoter(raft, appendMs, now, electionTimeoutMs)?.id;
  return found === undefined ? undefined : Number(found);
}

t.test('a quicker voter is one that answers four times as fast as a slow disk writes', (t) => {
  const raft = leader(peer(2, 2), peer(3, 1.5));
  t.equal(chosen(raft, 20), 3, 'the quickest of several');
  t.equal(chosen(raft, 7), 3);
  t.equal(chosen(raft, 5.9), undefined, 'not slow enough beside the others');
  t.equal(chosen(leader(peer(2, 0.1), peer(3, 0.1)), 4.9), undefined, 'nobody minds 5 ms');
  t.equal(chosen(leader(peer(2, 30), peer(3, 30)), 40), undefined, 'all disks are slow');
  t.equal(chosen(raft, undefined), undefined, 'nothing was written');
  t.equal(chosen(leader(), 1000), undefined, 'this server is the only one');
  t.end();
});

t.test('a successor votes, answers and has what is committed', (t) => {
  const unfit: readonly [string, Partial<PeerStatus>][] = [
    ['a standby', { role: 'standby' }],
    ['one that is being probed', { state: 'probe' }],
    ['one that gets a snapshot', { state: 'snapshot' }],
    ['one that has been silent', { heardAt: (now - electionTimeoutMs) as Instant }],
    ['one that is far behind', { match: 3000 as Index }],
    ['one that has acknowledged nothing to this leader', { answerMs: undefined }],
  ];
  for (const [what, rest] of unfit) {
    t.equal(chosen(leader(peer(2, 0.2, rest)), 50), undefined, what);
    t.equal(chosen(leader(peer(2, 0.2, rest), peer(3, 1)), 50), 3, `not ${what}`);
  }
  t.end();
});

/** A leader with a disk and followers whose times can be set, and a virtual clock. */
function watched(t: Test, slowForMs = 5000) {
  const clock = new VirtualClock();
  const world = {
    appendMs: 0.5,
    answerMs: 0.5,
    leads: true,
    fails: false,
    transfers: [] as number[],
    lines: [] as string[],
    async pass(ms: number): Promise<void> {
      const until = clock.now() + ms;
      do await new Promise((resolve) => setImmediate(resolve));
      while (clock.runNext(until));
    },
  };
  const health = new DiskHealth({
    slowForMs,
    electionTimeoutMs,
    clock,
    consensus: {
      get transition() {
        const state = world.leads ? 'leader' : 'follower';
        return { state, ready: world.leads, transferring: false } as unknown as Transition;
      },
      transfer: async (to) => {
        world.transfers.push(Number(to));
        if (world.fails) throw DqliteError.of('transferFailed');
        world.leads = false;
      },
    },
    status: async () => {
      const heardAt = clock.now();
      const raft = leader(peer(2, world.answerMs, { heardAt }), peer(3, 90, { heardAt }));
      return { raft, appendMs: world.appendMs } as unknown as RaftNodeStatus;
    },
    logger: {
      warn: (_fields: unknown, text: string) => world.lines.push(text),
    } as unknown as Logger,
  });
  const running = health.run();
  t.teardown(async () => {
    health.stop();
    await running;
  });
  return world;
}

t.test('leadership moves when the disk has been slow for the whole time', async (t) => {
  const world = watched(t);
  await world.pass(60_000);
  t.same(world.transfers, [], 'a good disk');
  world.appendMs = 20;
  await world.pass(3900);
  t.same(world.transfers, [], 'not yet');
  await world.pass(1100);
  t.same(world.transfers, [2]);
  t.match(world.lines, [/the disk of this server is slow/]);
  await world.pass(600_000);
  t.same(world.transfers, [2], 'a follower hands nothing over');
});

t.test('slow moments move nothing', async (t) => {
  const world = watched(t);
  for (let moment = 0; moment < 20; moment++) {
    world.appendMs = 50;
    await world.pass(4000);
    world.appendMs = 0.5;
    await world.pass(1000);
  }
  t.same(world.transfers, []);
});

t.test('after an attempt leadership stays for a minute, so that it does not flap', async (t) => {
  const world = watched(t);
  world.fails = true;
  world.appendMs = 20;
  await world.pass(5000);
  t.same(world.transfers, [2]);
  await world.pass(59_000);
  t.same(world.transfers, [2], 'it could not be handed over, and is not tried again at once');
  world.fails = false;
  await world.pass(10_000);
  t.same(world.transfers, [2, 2]);
});

t.test('a leader that comes back to a slow disk within that minute keeps leading', async (t) => {
  const world = watched(t);
  world.appendMs = 20;
  await world.pass(5000);
  world.leads = true;
  await world.pass(50_000);
  t.same(world.transfers, [2]);
});

t.test('0 switches it off', async (t) => {
  const world = watched(t, 0);
  world.appendMs = 1000;
  await world.pass(600_000);
  t.same(world.transfers, []);
});

t.test('an append counts before it has ended', (t) => {
  const times = new AppendTimes();
  const at = (ms: number): Instant => ms as Instant;
  t.equal(times.milliseconds(at(0)), undefined);
  times.began(at(0));
  times.began(at(1));
  times.ended(at(2));
  t.equal(times.milliseconds(at(2)), 2);
  t.equal(times.milliseconds(at(5000)), 4999, 'the disk hangs');
  times.ended(at(5001));
  t.equal(times.milliseconds(at(9000)), 2 + (5000 - 2) / 8, 'smoothed');
  t.end();
});
