import t, { type Test } from 'tap';
import type { Clock, Timer } from '../../src/base/clock.ts';
import { DqliteError } from '../../src/base/errors.ts';
import type { Instant, ServerId, Term } from '../../src/base/ids.ts';
import { nullLogger } from '../../src/base/logger.ts';
import type { Role, Server } from '../../src/protocol/log.ts';
import type { Change, Transition } from '../../src/raft/events.ts';
import type { RaftStatus } from '../../src/raft/status.ts';
import { type MemberView, nextRoleChange } from '../../src/server/role-decision.ts';
import { RoleManager } from '../../src/server/role-manager.ts';

/** Time that a test moves; the manager sets one timer at a time. */
class ManualClock implements Clock {
  #nowMs = 0;
  #due: { readonly at: number; readonly run: () => void } | undefined;

  /** Whether somebody waits for time to pass. */
  get waiting(): boolean {
    return this.#due !== undefined;
  }

  now(): Instant {
    return this.#nowMs as Instant;
  }

  after(delayMs: number, run: () => void): Timer {
    const due = { at: this.#nowMs + delayMs, run };
    this.#due = due;
    return {
      cancel: () => {
        if (this.#due === due) this.#due = undefined;
      },
    };
  }

  nextTurn(run: () => void): void {
    setImmediate(run);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    const due = this.#due;
    if (due === undefined || due.at > this.#nowMs) return;
    this.#due = undefined;
    due.run();
  }
}

const leader = 1n as ServerId;
const targets = { voters: 3, standbys: 3 };

/**
 * Members as text, the first leads: role, then marks. `-` does not answer, `!` is lost, `@2` failure domain, `w9` weight.
 * "voter voter! standby@2"
 */
function membersOf(text: string): MemberView[] {
  return text.split(' ').map((word, i) => {
    const lost = word.includes('!');
    const silent = lost || word.includes('-');
    const role = (/^[a-z]*?(?=w\d|$|[^a-z])/.exec(word)?.[0] ?? '') as Role;
    return {
      id: BigInt(i + 1) as ServerId,
      address: `10.0.0.${i + 1}:9001`,
      role,
      answers: !silent,
      acknowledges: role !== 'spare' && !silent,
      lost,
      failureDomain: BigInt(/@(\d+)/.exec(word)?.[1] ?? 0),
      weight: BigInt(/w(\d+)/.exec(word)?.[1] ?? 0),
    };
  });
}

function decide(text: string, wanted = targets): string {
  const change = nextRoleChange(membersOf(text), leader, wanted);
  if (change === undefined) return 'nothing';
  return `${change.member.id} ${change.role}${change.safe ? '' : ` unsafe: ${change.quorum}`}`;
}

/** All changes until nothing is left to do; a change of a lost server succeeds too. */
function settle(text: string, wanted = targets): string[] {
  const changes: string[] = [];
  let members = membersOf(text);
  for (;;) {
    const change = nextRoleChange(members, leader, wanted);
    if (change === undefined) return changes;
    changes.push(`${change.member.id} ${change.role}`);
    if (changes.length > 20) return [...changes, 'and so on'];
    const { id } = change.member;
    members = members.map((member) =>
      member.id === id
        ? { ...member, role: change.role, acknowledges: change.role !== 'spare' && member.answers }
        : member,
    );
  }
}

t.test('a cluster grows from one server to three voters, three standbys and spares', (t) => {
  t.equal(decide('voter'), 'nothing');
  t.strictSame(settle('voter spare'), ['2 standby']);
  t.strictSame(settle('voter standby spare'), ['2 voter', '3 voter']);
  t.strictSame(settle('voter voter voter spare spare spare spare'), [
    ...['4 standby', '5 standby', '6 standby'],
  ]);
  t.strictSame(settle('voter spare spare spare spare', { voters: 5, standbys: 0 }), [
    ...['2 voter', '3 voter', '4 voter', '5 voter'],
  ]);
  t.end();
});

t.test('an even number of voters is not made', (t) => {
  t.equal(decide('voter standby spare!'), 'nothing');
  t.strictSame(settle('voter voter voter spare', { voters: 5, standbys: 3 }), ['4 standby']);
  t.end();
});

t.test('of two members one votes: two voters could stop each other', (t) => {
  t.strictSame(settle('voter voter'), ['2 standby']);
  t.equal(decide('voter standby!'), 'nothing');
  t.end();
});

t.test('a voter that leaves questions unanswered keeps its role until it is lost', (t) => {
  t.equal(decide('voter voter voter- standby'), 'nothing');
  t.strictSame(settle('voter voter voter! standby'), ['4 voter', '3 spare']);
  t.end();
});

t.test('a lost voter without a replacement stays one while that costs nothing', (t) => {
  t.equal(decide('voter voter voter!'), 'nothing', '2 of 3 and 2 of 2 both need 2');
  t.equal(decide('voter voter voter voter! standby!'), '4 spare', '3 of 4 need 3, 3 of 3 need 2');
  t.end();
});

t.test('a server that was replaced is a standby when it returns', (t) => {
  t.strictSame(settle('voter voter spare voter'), ['3 standby']);
  t.end();
});

t.test('a missing failure domain comes first, then the lighter, then the standby', (t) => {
  t.equal(decide('voter@1 voter@2 voter@3! standby@1 spare@3w5'), '5 voter');
  t.equal(decide('voter voter voter! standbyw2 sparew1'), '5 voter');
  t.equal(decide('voter voter voter! spare standby'), '5 voter');
  t.end();
});

t.test('voters spread over the failure domains, and then stay', (t) => {
  t.strictSame(settle('voter@1 voter@1 voter@2 standby@3'), ['4 voter', '2 standby']);
  t.strictSame(settle('voter@1 voter@1 voter@1 standby@2 standby@3'), [
    ...['4 voter', '2 standby', '5 voter', '3 standby'],
  ]);
  t.equal(decide('voter@1 voter@2 voter@2 standby@1'), 'nothing');
  t.end();
});

t.test('surplus voters: those that do not answer, full domains and heavy ones first', (t) => {
  t.equal(decide('voter voterw1 voterw9 voterw2'), '3 standby');
  t.equal(decide('voter@1 voter@2w9 voter@3 voter@3'), '3 standby');
  t.equal(decide('voter voterw9 voter- voter'), '3 standby');
  t.equal(decide('voterw9 voter voter voter', { voters: 3, standbys: 0 }), '2 spare');
  t.equal(decide('voterw9 voter voter', { voters: 1, standbys: 3 }), '2 standby');
  t.end();
});

t.test('standbys follow their target, and the lost ones are replaced', (t) => {
  const one = { voters: 3, standbys: 1 };
  t.strictSame(settle('voter voter voter standby! spare', one), ['5 standby', '4 spare']);
  t.equal(decide('voter voter voter standby!', one), 'nothing');
  t.equal(decide('voter voter voter standby standbyw3', one), '5 spare');
  t.equal(decide('voter voter voter spare-', one), 'nothing', 'only who answers is promoted');
  t.end();
});

t.test('a change that leaves no majority is not safe, and says the arithmetic', (t) => {
  const arithmetic = 'unsafe: afterwards 2 of 4 voters answer, 3 are needed';
  t.equal(decide('voter voter- voter! standby'), `4 voter ${arithmetic}`);
  t.end();
});

t.test('from any roles the changes come to an end, with the targets met', (t) => {
  const roles = ['voter', 'standby', 'spare'];
  const marks = ['', '!', '@1', '@2w1'];
  const failures: string[] = [];
  for (let seed = 0; seed < 3 ** 6 * 4; seed++) {
    const text = ['voter'];
    for (let i = 0, rest = seed; i < 6; i++, rest = Math.floor(rest / 3)) {
      text.push(`${roles[rest % 3]}${marks[(seed * 7 + i * 3) % 4]}`);
    }
    const members = text.join(' ');
    if (settle(members).at(-1) === 'and so on') failures.push(members);
  }
  t.strictSame(failures, []);
  t.end();
});

t.test('the leader promotes who joins, one change after the other, without waiting', async (t) => {
  const world = managed(t, ['voter', 'spare', 'spare']);
  await world.until(() => world.roles() === 'voter voter voter');

  t.strictSame(world.changes, ['2 voter', '3 voter']);
  t.equal(world.clock.now(), 0);
});

t.test(
  'three unanswered questions in a row and silence in the log: then a voter is lost',
  async (t) => {
    const world = managed(t, ['voter', 'voter', 'voter', 'standby']);
    await world.round();
    world.silent.add(3);
    await world.round();
    await world.round();
    t.strictSame(world.changes, [], 'two questions');
    await world.round();
    t.strictSame(world.changes, [], 'it acknowledges the log');
    world.deaf.add(3);
    await world.round();
    await world.until(() => world.roles() === 'voter voter spare voter');
    t.strictSame(world.changes, ['4 voter', '3 spare']);
  },
);

t.test('many looks in a moment do not make a member lost', async (t) => {
  const world = managed(t, ['voter', 'voter', 'voter', 'standby']);
  await world.round();
  world.silent.add(3);
  world.deaf.add(3);
  const asked = world.asked;
  for (let i = 1; i <= 6; i++) {
    world.manager.wake();
    await world.until(() => world.asked >= asked + 3 * i);
  }
  t.strictSame(world.changes, []);
});

t.test('a server that cannot be promoted makes room for the next', async (t) => {
  const world = managed(t, ['voter', 'voter', 'voter', 'standby', 'standby']);
  world.refused.add(4);
  world.silent.add(2);
  world.deaf.add(2);
  for (let i = 0; i < 5; i++) await world.round();
  await world.until(() => world.roles() === 'voter spare voter standby voter');
  t.strictSame(world.changes, ['4 voter refused', '5 voter', '2 spare']);
});

t.test('a follower changes nothing', async (t) => {
  const world = managed(t, ['voter', 'spare', 'spare'], 'follower');
  await world.round();
  t.equal(world.asked, 0);
});

/** A leader's role manager among members that are made up. */
function managed(t: Test, all: readonly Role[], state: Transition['state'] = 'leader') {
  const clock = new ManualClock();
  let servers: Server[] = all.map((role, i) => ({
    id: BigInt(i + 1) as ServerId,
    address: String(i + 1),
    role,
  }));
  const changes: string[] = [];
  const silent = new Set<number>();
  const deaf = new Set<number>();
  const refused = new Set<number>();
  const world = {
    clock,
    changes,
    silent,
    deaf,
    refused,
    asked: 0,
    roles: () => servers.map(({ role }) => role).join(' '),
    until: async (condition: () => boolean) => {
      while (!condition()) await new Promise((resolve) => setImmediate(resolve));
    },
    /** One interval passes. */
    round: async () => {
      await world.until(() => clock.waiting);
      clock.advance(1000);
      await world.until(() => clock.waiting);
    },
  };
  const manager = new RoleManager({
    self: leader,
    targets,
    intervalMs: 1000,
    electionTimeoutMs: 3000,
    consensus: {
      get transition() {
        return {
          state,
          term: 1 as Term,
          leader: undefined,
          ready: state === 'leader',
          transferring: false,
          configuration: { servers },
        };
      },
      change: async (change: Change) => {
        if (change.kind !== 'assign') return;
        const id = Number(change.id);
        changes.push(`${id} ${change.role}${refused.has(id) ? ' refused' : ''}`);
        if (refused.has(id)) throw DqliteError.of('noConnection');
        servers = servers.map((server) =>
          server.id === change.id ? { ...server, role: change.role } : server,
        );
      },
    },
    status: async () => {
      const peers = servers.slice(1).map(({ id, role }) => ({
        id,
        state: role === 'spare' ? 'idle' : 'pipeline',
        heardAt: deaf.has(Number(id)) ? -10_000 : clock.now(),
      }));
      return { configuration: { servers }, peers } as unknown as RaftStatus;
    },
    describe: async (address) => {
      world.asked += 1;
      if (silent.has(Number(address))) throw new Error('no answer');
      return { failureDomain: 0n, weight: 0n };
    },
    describeSelf: () => ({ failureDomain: 0n, weight: 0n }),
    clock,
    logger: nullLogger,
  });
  const running = manager.run();
  t.teardown(async () => {
    manager.stop();
    await running;
  });
  return Object.assign(world, { manager });
}
