import { strict as assert } from 'node:assert';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { describeEffects, describeEvent } from '../../src/raft/describe.ts';
import type {
  Applied,
  Change,
  Effects,
  Event,
  Outbound,
  Settlement,
  Transition,
} from '../../src/raft/events.ts';
import type { PeerMessage } from '../../src/raft/messages.ts';
import type { Role, ServerId } from '../../src/raft/types.ts';
import { Agenda } from './agenda.ts';
import { Checkers } from './checkers.ts';
import {
  commandOf,
  id,
  index,
  instant,
  members,
  type Surroundings,
  TestServer,
  TestSnapshotData,
  testOptions,
} from './cluster.ts';

const timeoutMs = 100;
interface ServerClock {
  readonly rate: number;
  readonly offset: number;
}

/**
 * A cluster on a virtual clock over a network that loses, delays, doubles and reorders, with servers that
 * crash and forget what was not written. Everything follows from the seed.
 */
export class World implements Surroundings {
  readonly #random: Random;
  readonly #servers = new Map<ServerId, TestServer>();
  readonly #clocks = new Map<ServerId, ServerClock>();
  /** Servers that do not number their answers, on links that keep the order. */
  readonly #plain = new Set<ServerId>();
  readonly #lastArrival = new Map<string, number>();
  readonly #agenda = new Agenda();
  readonly #cuts = new Set<string>();
  readonly #checkers: Checkers;
  #trace: { at: number; what: string | { on: TestServer; event: Event; effects: Effects } }[] = [];
  #commands = 0;
  #ticket = 0;
  #losses = 0;
  #pauseMs = 0;
  #calm = false;
  /** Tickets of proposals by what was proposed, of reads by what had been acknowledged before. */
  readonly #reads = new Map<number, number>();

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    const count = this.#random.int(1, 5);
    const roles: Record<number, Role> = {};
    for (let n = 1; n <= count; n++) roles[n] = n <= 3 || this.#chance(50) ? 'voter' : 'standby';
    this.#checkers = new Checkers();
    this.#losses = this.#random.int(0, 10);
    this.#pauseMs = this.#random.int(20, 150);
    for (let n = 1; n <= 6; n++) this.#add(n, n <= count ? roles : undefined);
  }

  /** Runs for so long with faults, then heals everything and demands that the cluster lives. */
  run(faultyMs: number): void {
    this.#agenda.later(20, () => this.#misfortune());
    this.#agenda.later(1, () => this.#load());
    this.#agenda.runUntil(faultyMs);
    this.#heal();
    this.#agenda.runUntil(faultyMs + 40 * timeoutMs);
    this.#mustLive();
  }

  /** What happened: how much of it was interesting. */
  get summary(): { committed: number; leaders: number; reads: number } {
    return this.#checkers.summary;
  }

  #add(n: number, roles: Record<number, Role> | undefined): void {
    const options = testOptions(id(n), {
      electionTimeoutMs: timeoutMs,
      heartbeatMs: 20,
      leaseMarginMs: 10,
      snapshotThreshold: this.#random.int(5, 60),
      snapshotTrailing: this.#random.int(0, 40),
      snapshotTimeoutMs: 200,
      maxMessageBytes: this.#random.int(32, 200),
      maxMessageEntries: this.#random.int(4, 10),
      maxInflightMessages: this.#random.int(2, 8),
      maxCatchUpRoundMs: 500,
    });
    const server = new TestServer(options, this, roles && members(roles));
    this.#servers.set(server.id, server);
    const rate = 1 + this.#random.int(-30, 30) / 1000;
    this.#clocks.set(server.id, { rate, offset: this.#random.int(0, 1000) });
    if (this.#chance(15)) this.#plain.add(server.id);
    this.#start(server);
  }

  #start(server: TestServer): void {
    this.#log(`${server.id} starts`);
    server.start(this.#nowOf(server), this.#random.int(0, 1 << 30));
    this.#wake(server);
  }

  #nowOf(server: TestServer) {
    const clock = this.#clocks.get(server.id);
    assert(clock !== undefined);
    return instant(clock.offset + clock.rate * this.#agenda.now);
  }

  #wake(server: TestServer): void {
    const { raft, run } = server;
    const clock = this.#clocks.get(server.id);
    if (raft === undefined || clock === undefined) return;
    const delay = Math.max(0, (raft.nextDeadline - this.#nowOf(server)) / clock.rate);
    // A busy host wakes late.
    const late = this.#chance(3) ? this.#random.int(0, timeoutMs) : 0;
    this.#agenda.later(Math.min(delay + 0.01, timeoutMs) + late, () => {
      if (server.run !== run || server.raft === undefined) return;
      if (server.raft.nextDeadline <= this.#nowOf(server)) this.#step(server, { type: 'tick' });
      this.#wake(server);
    });
  }

  #step(server: TestServer, event: Event): void {
    server.step(event, this.#nowOf(server));
  }

  stepped(on: TestServer, event: Event, effects: Effects): void {
    this.#log({ on, event, effects });
    this.#checkers.stepped(on, effects);
    if (effects.persist === undefined) return;
    const { run } = on;
    this.#agenda.later(this.#chance(5) ? this.#random.int(0, 60) : this.#random.int(0, 3), () => {
      if (on.run === run) on.finishWrite(this.#nowOf(on));
    });
  }

  send(from: TestServer, { to, message }: Outbound): void {
    this.#transmit(from, to.id, plainly(message, from, this.#plain));
  }

  #transmit(from: TestServer, to: ServerId, message: PeerMessage): void {
    const target = this.#servers.get(to);
    const ordered = this.#plain.has(from.id) || this.#plain.has(to);
    const link = `${from.id}>${to}`;
    const lost = !this.#calm && this.#random.int(0, 99) < this.#losses;
    if (target === undefined || this.#cuts.has(link) || lost) {
      if (message.kind === 'installSnapshot') message.snapshot.data.release();
      return;
    }
    const copies = !ordered && !this.#calm && this.#chance(3) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const slow = !this.#calm && this.#chance(4);
      let at =
        this.#agenda.now +
        (slow ? this.#random.int(0, 3 * timeoutMs) : this.#random.int(0, 50) / 10);
      if (ordered) at = Math.max(at, this.#lastArrival.get(link) ?? 0);
      this.#lastArrival.set(link, at);
      const sender = { id: from.id, address: from.address };
      this.#agenda.later(at - this.#agenda.now, () => {
        this.#step(target, { type: 'receive', from: sender, message });
      });
    }
  }

  shipSnapshot(from: TestServer, ship: NonNullable<Effects['shipSnapshot']>): void {
    const { run } = from;
    const { disk } = from;
    this.#agenda.later(this.#random.int(0, 20), () => {
      if (from.run !== run || disk.snapshot === undefined) return;
      // Like the real one, the newest: never older than what was asked for, which is on disk.
      const { meta, state } = disk.snapshot;
      const whole = this.#chance(80) && meta.index >= ship.meta.index;
      if (whole) {
        const data = new TestSnapshotData(state);
        const snapshot = { meta, data };
        this.#transmit(from, ship.to.id, { kind: 'installSnapshot', term: ship.term, snapshot });
      }
      this.#step(from, { type: 'snapshotShipped', to: ship.to.id, whole });
    });
  }

  applied(on: TestServer, applied: readonly Applied[]): void {
    this.#checkers.applied(on, applied);
  }

  settled(_on: TestServer, settlement: Settlement): void {
    const floor = this.#reads.get(settlement.ticket);
    this.#reads.delete(settlement.ticket);
    if (floor === undefined || settlement.outcome !== 'done') return;
    this.#checkers.read(floor, settlement.index);
  }

  transition(on: TestServer, transition: Transition): void {
    this.#checkers.transition(on, transition);
  }

  /** Clients: whoever may lead is asked to write and to read. */
  #load(): void {
    for (const server of this.#servers.values()) {
      const { raft } = server;
      if (raft === undefined) continue;
      this.#checkers.lease(server, this.#nowOf(server));
      if (raft.transition.state !== 'leader') continue;
      // Like the gateway, which asks who is ready to lead; a few do not ask.
      if (this.#chance(raft.transition.ready ? (this.#calm ? 10 : 60) : 2)) this.#propose(server);
      if (this.#chance(30)) {
        this.#reads.set(++this.#ticket, this.#checkers.acknowledged);
        this.#step(server, { type: 'read', ticket: this.#ticket });
      }
    }
    this.#agenda.later(this.#random.int(0, 60) / 10, () => this.#load());
  }

  #propose(server: TestServer): void {
    const { raft } = server;
    if (raft === undefined) return;
    const proposals = Array.from({ length: this.#random.int(1, 4) }, () => ({
      ticket: ++this.#ticket,
      command: commandOf(`c${++this.#commands}`),
    }));
    this.#step(server, { type: 'propose', term: raft.transition.term, proposals });
  }

  #misfortune(): void {
    if (this.#calm) return;
    const servers = [...this.#servers.values()];
    const leader = servers.find(({ raft }) => raft?.transition.state === 'leader');
    const any = servers[this.#random.int(0, servers.length - 1)];
    const server = leader !== undefined && this.#chance(40) ? leader : any;
    assert(server !== undefined);
    switch (this.#random.int(0, 9)) {
      case 0:
      case 1:
        this.#crash(server);
        break;
      case 2:
        this.#partition(servers);
        break;
      case 3:
        this.#cutPair(server, servers);
        break;
      case 4:
        this.#cuts.clear();
        break;
      case 5:
      case 6:
        this.#change(servers);
        break;
      case 7:
        this.#transfer(servers);
        break;
      case 8:
        for (const other of servers) {
          if (this.#chance(30)) this.#step(server, { type: 'unreachable', peer: other.id });
          if (this.#chance(30)) this.#step(server, { type: 'disconnected', peer: other.id });
        }
        break;
      default:
        this.#finishSnapshots();
    }
    this.#agenda.later(this.#random.int(2, this.#pauseMs), () => this.#misfortune());
  }

  #finishSnapshots(): void {
    for (const server of this.#servers.values()) {
      server.finishSnapshot(this.#nowOf(server), this.#chance(10));
    }
  }

  #crash(server: TestServer): void {
    if (server.raft === undefined) return;
    this.#log(`${server.id} crashes`);
    server.crash(this.#random.int(0, server.writes.length));
    for (const other of this.#servers.values()) {
      if (this.#chance(80)) this.#step(other, { type: 'disconnected', peer: server.id });
    }
    const downMs = this.#chance(50) ? this.#random.int(0, 10) : this.#random.int(0, 2 * timeoutMs);
    this.#agenda.later(downMs, () => {
      if (server.raft === undefined) this.#start(server);
    });
  }

  /** Two servers lose touch with each other, not with the others. */
  #cutPair(one: TestServer, servers: readonly TestServer[]): void {
    const other = servers[this.#random.int(0, servers.length - 1)];
    this.#cuts.add(`${one.id}>${other?.id}`);
    if (this.#chance(70)) this.#cuts.add(`${other?.id}>${one.id}`);
  }

  #partition(servers: readonly TestServer[]): void {
    this.#cuts.clear();
    const sides = new Map(servers.map((server) => [server.id, this.#random.int(0, 1)]));
    const oneWay = this.#chance(25);
    for (const from of servers) {
      for (const to of servers) {
        const apart = sides.get(from.id) !== sides.get(to.id);
        if (apart && (!oneWay || sides.get(from.id) === 0)) this.#cuts.add(`${from.id}>${to.id}`);
      }
    }
    this.#log(`cuts ${[...this.#cuts].join(' ')}`);
  }

  #change(servers: readonly TestServer[]): void {
    const target = BigInt(this.#random.int(1, 6)) as ServerId;
    const roles: Role[] = ['voter', 'voter', 'standby', 'spare'];
    const role = roles[this.#random.int(0, 3)] ?? 'voter';
    const changes: Change[] = [
      { kind: 'add', id: target, address: `s${target}` },
      { kind: 'assign', id: target, role },
      { kind: 'remove', id: target },
      { kind: 'assign', id: target, role: 'voter' },
    ];
    const change = changes[this.#random.int(0, 3)];
    for (const server of servers) {
      if (server.raft?.transition.state !== 'leader' || change === undefined) continue;
      this.#step(server, { type: 'change', ticket: ++this.#ticket, change });
    }
  }

  #transfer(servers: readonly TestServer[]): void {
    const to = this.#chance(50) ? undefined : (BigInt(this.#random.int(1, 6)) as ServerId);
    for (const server of servers) {
      if (server.raft?.transition.state !== 'leader') continue;
      this.#step(server, { type: 'transfer', ticket: ++this.#ticket, to });
    }
  }

  #heal(): void {
    this.#log('heal');
    this.#calm = true;
    this.#cuts.clear();
    for (const server of this.#servers.values()) {
      if (server.raft === undefined) this.#start(server);
    }
    const again = () => {
      this.#finishSnapshots();
      this.#agenda.later(10, again);
    };
    again();
  }

  /** A leader, all voters and standbys with the same log, and new commands go through. */
  #mustLive(): void {
    const leaders = [...this.#servers.values()].filter(({ raft }) => raft?.transition.ready);
    const [leader] = leaders;
    assert(
      leaders.length === 1 && leader?.raft !== undefined,
      `${leaders.length} leaders after healing`,
    );
    const { configuration } = leader.raft.transition;
    const before = leader.machine.commands;
    this.#propose(leader);
    this.#agenda.runUntil(this.#agenda.now + 2 * timeoutMs);
    assert(leader.machine.commands > before, 'commands go through after healing');
    for (const { id: member, role } of configuration.servers) {
      const machine = this.#servers.get(member)?.machine;
      if (role === 'spare' || machine === undefined) continue;
      assert(machine.index > 0 && machine.commands >= before, `${member} catches up`);
    }
  }

  #chance(percent: number): boolean {
    return this.#random.int(0, 99) < percent;
  }

  #log(what: string | { on: TestServer; event: Event; effects: Effects }): void {
    this.#trace.push({ at: this.#agenda.now, what });
    if (this.#trace.length > 10_000) this.#trace = this.#trace.slice(5000);
  }

  /** The newest things that happened, a line each. */
  get trace(): string[] {
    return this.#trace.flatMap(({ at, what }) => {
      const time = at.toFixed(2);
      if (typeof what === 'string') return [`${time} ${what}`];
      const { on, event, effects } = what;
      const lines = describeEffects(effects).map((line) => `    ${line}`);
      return [`${time} ${on.id} ${describeEvent(event)}`, ...lines];
    });
  }
}

/** What a server that knows no rounds says: no round, and everything it stores. */
function plainly(message: PeerMessage, from: TestServer, plain: Set<ServerId>): PeerMessage {
  if (!plain.has(from.id)) return message;
  if (message.kind === 'appendEntries') return { ...message, round: 0 };
  if (message.kind !== 'appendEntriesResult') return message;
  const last = from.disk.entries.at(-1)?.index ?? from.disk.snapshot?.meta.index ?? index(0);
  const lastIndex =
    message.rejected === 0 ? index(Math.max(last, message.lastIndex)) : message.lastIndex;
  return { ...message, round: 0, lastIndex };
}
