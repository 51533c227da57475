import { strict as assert } from 'node:assert';
import {
  describeConfiguration,
  describeEffects,
  describeEntry,
  describeEvent,
  describeMessage,
  describeTransition,
} from '../../src/raft/describe.ts';
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
import type { RaftOptions } from '../../src/raft/raft.ts';
import type { Role, ServerId } from '../../src/raft/types.ts';
import type { Directive } from '../support/datadriven.ts';
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
  term,
  testOptions,
} from './cluster.ts';
import { entriesOf, optionsOf, roleIn } from './script-options.ts';

interface Waiting {
  readonly from: TestServer;
  readonly to: ServerId;
  readonly message: PeerMessage;
}

/**
 * A cluster that does what a script says and nothing else: messages wait until they are delivered, writes
 * until they are written, time stands still. What it answers is everything that happened.
 */
export class ScriptedCluster implements Surroundings {
  readonly #servers = new Map<ServerId, TestServer>();
  readonly #checkers = new Checkers();
  readonly #sides = new Map<ServerId, number>();
  #waiting: Waiting[] = [];
  #lines: string[] = [];
  #transitions: string[] = [];
  #now = 0;
  #ticket = 0;

  /** Carries out one stanza and answers with what happened. */
  run(directive: Directive): string {
    this.#lines = [];
    this.#transitions = [];
    const verb = this.#verbs[directive.command];
    assert(verb !== undefined, `no verb ${directive.command}`);
    verb(directive);
    if (directive.args.includes('quietly')) return 'ok';
    return this.#lines.join('\n') || 'ok';
  }

  readonly #verbs: Readonly<Record<string, (directive: Directive) => void>> = {
    'add-nodes': ({ args, options }) => this.#addNodes(Number(args[0]), options),
    'add-empty': ({ args, options }) => this.#add(Number(args[0]), undefined, optionsOf(options)),
    tick: ({ args }) => this.#step(this.#server(args[0]), { type: 'tick' }),
    advance: ({ args }) => this.#advance(Number(args[0])),
    live: ({ args }) => this.#live(Number(args[0])),
    campaign: ({ args }) => this.#campaign(this.#server(args[0])),
    propose: ({ args }) => this.#propose(this.#server(args[0]), args.slice(1)),
    read: ({ args }) => {
      this.#step(this.#server(args[0]), { type: 'read', ticket: ++this.#ticket });
    },
    change: ({ args }) => this.#change(this.#server(args[0]), args.slice(1)),
    transfer: ({ args, options }) => {
      const to = options.to === undefined ? undefined : id(Number(options.to));
      this.#step(this.#server(args[0]), { type: 'transfer', ticket: ++this.#ticket, to });
    },
    unreachable: ({ args }) => {
      this.#step(this.#server(args[0]), { type: 'unreachable', peer: id(Number(args[1])) });
    },
    disconnected: ({ args }) => {
      this.#step(this.#server(args[0]), { type: 'disconnected', peer: id(Number(args[1])) });
    },
    receive: ({ args, options }) => this.#receive(this.#server(args[0]), args[1] ?? '', options),
    deliver: (directive) => this.#deliver(this.#take(directive)),
    drop: (directive) => {
      for (const { from, to, message } of this.#take(directive)) {
        this.#lines.push(`dropped ${from.id} -> ${to}: ${describeMessage(message)}`);
      }
    },
    waiting: () => {
      for (const { from, to, message } of this.#waiting) {
        this.#lines.push(`${from.id} -> ${to}: ${describeMessage(message)}`);
      }
    },
    write: ({ args }) => {
      if (!this.#server(args[0]).finishWrite(this.#instant)) this.#lines.push('nothing to write');
    },
    snapshot: ({ args }) => {
      const fails = args.includes('fails');
      if (!this.#server(args[0]).finishSnapshot(this.#instant, fails)) {
        this.#lines.push('no snapshot to write');
      }
    },
    arriving: ({ args }) => {
      const leader = [...this.#servers.values()].find(
        ({ raft }) => raft?.transition.state === 'leader',
      );
      assert(leader?.raft !== undefined, 'somebody leads');
      const from = { id: leader.id, address: leader.address };
      const leadership = leader.raft.transition.term;
      const event: Event = { type: 'snapshotArriving', from, term: leadership };
      this.#step(this.#server(args[0]), event);
    },
    'snapshot-again': ({ args }) => this.#shipAgain(this.#server(args[0])),
    stabilize: ({ args }) => this.#stabilize(args.filter((arg) => arg !== 'quietly')),
    partition: ({ args }) => this.#partition(args),
    heal: () => this.#sides.clear(),
    crash: ({ args, options }) => this.#server(args[0]).crash(Number(options.survive ?? 0)),
    restart: ({ args }) => this.#start(this.#server(args[0])),
    status: () => this.#status(),
    log: ({ args }) => {
      const { log } = this.#server(args[0]);
      this.#lines.push(...log.map(describeEntry));
    },
    lease: ({ args }) => {
      const until = this.#server(args[0]).raft?.leaseUntil ?? Number.NaN;
      this.#lines.push(until > this.#now ? `for ${Math.round(until - this.#now)} ms` : 'none');
    },
  };

  get #instant() {
    return instant(this.#now);
  }

  #server(name: string | undefined): TestServer {
    const server = this.#servers.get(id(Number(name)));
    assert(server !== undefined, `no server ${name}`);
    return server;
  }

  #step(server: TestServer, event: Event): void {
    server.step(event, this.#instant);
  }

  #addNodes(count: number, options: Directive['options']): void {
    const roles: Record<number, Role> = {};
    for (let n = 1; n <= count; n++) roles[n] = roleIn(options, n);
    for (let n = 1; n <= count; n++) this.#add(n, roles, optionsOf(options));
  }

  #add(n: number, roles: Record<number, Role> | undefined, options: Partial<RaftOptions>): void {
    const server = new TestServer(testOptions(id(n), options), this, roles && members(roles));
    this.#servers.set(server.id, server);
    this.#start(server);
  }

  #start(server: TestServer): void {
    server.start(this.#instant, Number(server.id) * 1000 + server.run);
  }

  /** Time passes for all; those with something to do are ticked, in the order of their deadlines. */
  #advance(durationMs: number): void {
    const end = this.#now + durationMs;
    for (let next = this.#nextDue(end); next !== undefined; next = this.#nextDue(end)) {
      this.#now = Math.max(this.#now, next.raft?.nextDeadline ?? 0);
      this.#step(next, { type: 'tick' });
    }
    this.#now = end;
  }

  /** Time passes and everything is delivered and written at once; tells only who became what. */
  #live(durationMs: number): void {
    const end = this.#now + durationMs;
    while (this.#now < end) {
      this.#advance(Math.min(10, end - this.#now));
      this.#stabilize([]);
    }
    this.#lines = this.#transitions;
  }

  #nextDue(end: number): TestServer | undefined {
    const at = (server: TestServer) => server.raft?.nextDeadline ?? Number.POSITIVE_INFINITY;
    const servers = [...this.#servers.values()].filter((server) => at(server) <= end);
    return servers.sort((a, b) => at(a) - at(b))[0];
  }

  #campaign(server: TestServer): void {
    this.#now = Math.max(this.#now, server.raft?.nextDeadline ?? 0);
    this.#step(server, { type: 'tick' });
  }

  #propose(server: TestServer, texts: readonly string[]): void {
    const proposals = texts.map((text) => ({ ticket: ++this.#ticket, command: commandOf(text) }));
    const leadership = server.raft?.transition.term ?? term(0);
    this.#step(server, { type: 'propose', term: leadership, proposals });
  }

  #change(server: TestServer, [kind, number, role]: readonly string[]): void {
    const target = id(Number(number));
    const changes: Record<string, Change> = {
      add: { kind: 'add', id: target, address: `s${number}` },
      assign: { kind: 'assign', id: target, role: role as Role },
      remove: { kind: 'remove', id: target },
    };
    const change = changes[kind ?? ''];
    assert(change !== undefined, `no change ${kind}`);
    this.#step(server, { type: 'change', ticket: ++this.#ticket, change });
  }

  /** A message that no server of this cluster sent. */
  #receive(server: TestServer, kind: string, options: Directive['options']): void {
    const number = (name: string) => Number(options[name] ?? 0);
    const head = { term: term(number('term')) };
    const last = { lastIndex: index(number('last')), lastTerm: term(number('lastTerm')) };
    const from = { id: id(number('from')), address: `s${options.from}` };
    const prevIndex = index(number('prev'));
    const messages: Record<string, PeerMessage> = {
      requestVote: {
        kind: 'requestVote',
        ...head,
        ...last,
        candidate: from.id,
        disruptLeader: options.disrupt === 'yes',
        preVote: options.preVote === 'yes',
      },
      requestVoteResult: {
        kind: 'requestVoteResult',
        ...head,
        granted: options.granted === 'yes',
        preVote: options.preVote === 'yes',
      },
      appendEntries: {
        kind: 'appendEntries',
        ...head,
        prevIndex,
        prevTerm: term(number('prevTerm')),
        leaderCommit: index(number('commit')),
        entries: entriesOf(options.entries ?? '', prevIndex),
        round: number('round'),
      },
      appendEntriesResult: {
        kind: 'appendEntriesResult',
        ...head,
        rejected: index(number('rejected')),
        lastIndex: index(number('last')),
        round: number('round'),
      },
      timeoutNow: { kind: 'timeoutNow', ...head, ...last },
    };
    const message = messages[kind];
    assert(message !== undefined, `no message ${kind}`);
    const times = Number(options.times ?? 1);
    for (let time = 0; time < times; time++) {
      this.#step(server, { type: 'receive', from, message });
    }
  }

  /** Takes the waiting messages that the options name out of the network. */
  #take({ options }: Directive): Waiting[] {
    const matches = ({ from, to, message }: Waiting) =>
      (options.from === undefined || from.id === id(Number(options.from))) &&
      (options.to === undefined || to === id(Number(options.to))) &&
      (options.kind === undefined || message.kind === options.kind);
    const most = Number(options.count ?? Number.POSITIVE_INFINITY);
    const taken = this.#waiting.filter(matches).slice(0, most);
    this.#waiting = this.#waiting.filter((waiting) => !taken.includes(waiting));
    if (options.order === 'reversed') taken.reverse();
    return taken;
  }

  #deliver(messages: readonly Waiting[]): void {
    for (const { from, to, message } of messages) {
      const apart = (this.#sides.get(from.id) ?? 0) !== (this.#sides.get(to) ?? 0);
      const target = this.#servers.get(to);
      if (apart || target?.raft === undefined) {
        this.#lines.push(`lost ${from.id} -> ${to}: ${describeMessage(message)}`);
        continue;
      }
      const sender = { id: from.id, address: from.address };
      this.#step(target, { type: 'receive', from: sender, message });
    }
  }

  /** Writes and delivers until nothing is left to do; with names only among those servers. */
  #stabilize(names: readonly string[]): void {
    const chosen = names.map((name) => this.#server(name).id);
    const among = (server: ServerId) => chosen.length === 0 || chosen.includes(server);
    for (let busy = true; busy; ) {
      busy = false;
      for (const server of this.#servers.values()) {
        while (among(server.id) && server.finishWrite(this.#instant)) busy = true;
      }
      const ready = this.#waiting.filter(({ from, to }) => among(from.id) && among(to));
      this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
      if (ready.length > 0) busy = true;
      this.#deliver(ready);
    }
  }

  /** The snapshot that this server has installed arrives once more. */
  #shipAgain(server: TestServer): void {
    const from = this.#server('1');
    const stored = from.disk.snapshot;
    assert(stored !== undefined, 'server 1 has a snapshot');
    const data = new TestSnapshotData(stored.state);
    const message: PeerMessage = {
      kind: 'installSnapshot',
      term: from.disk.vote.term,
      snapshot: { meta: stored.meta, data },
    };
    const sender = { id: from.id, address: from.address };
    this.#step(server, { type: 'receive', from: sender, message });
    this.#lines.push(`released ${data.released} times`);
  }

  /** `1 2,3`: one group each. */
  #partition(groups: readonly string[]): void {
    this.#sides.clear();
    for (const [side, group] of groups.entries()) {
      for (const name of group.split(',')) this.#sides.set(id(Number(name)), side);
    }
  }

  #status(): void {
    for (const { id: server, raft, disk } of this.#servers.values()) {
      const status = raft?.status();
      if (raft === undefined || status === undefined) {
        this.#lines.push(`${server}: down, term=${disk.vote.term}`);
        continue;
      }
      const { commitIndex, appliedIndex, lastIndex, term: current, snapshotIndex } = status;
      const leader = raft.transition.leader?.id ?? 'none';
      this.#lines.push(
        `${server}: ${status.state} term=${current} leader=${leader} last=${lastIndex} commit=${commitIndex} applied=${appliedIndex}` +
          `${snapshotIndex > 0 ? ` snapshot=${snapshotIndex}` : ''} members: ${describeConfiguration(status.configuration)}`,
      );
      for (const peer of status.peers) {
        this.#lines.push(`    ${peer.id} ${peer.state} match=${peer.match} next=${peer.next}`);
      }
    }
  }

  stepped(on: TestServer, event: Event, effects: Effects): void {
    this.#checkers.stepped(on, effects);
    const lines = describeEffects(effects);
    if (lines.length === 0 && (event.type === 'tick' || event.type === 'persisted')) return;
    this.#lines.push(`${on.id} ${describeEvent(event)}`);
    for (const line of lines) this.#lines.push(`    ${line}`);
  }

  send(from: TestServer, { to, message }: Outbound): void {
    this.#waiting.push({ from, to: to.id, message });
  }

  shipSnapshot(from: TestServer, ship: NonNullable<Effects['shipSnapshot']>): void {
    const stored = from.disk.snapshot;
    assert(stored !== undefined, 'what is shipped is on disk');
    const snapshot = { meta: stored.meta, data: new TestSnapshotData(stored.state) };
    const message: PeerMessage = { kind: 'installSnapshot', term: ship.term, snapshot };
    this.#waiting.push({ from, to: ship.to.id, message });
    this.#step(from, { type: 'snapshotShipped', to: ship.to.id, whole: true });
  }

  applied(on: TestServer, applied: readonly Applied[]): void {
    this.#checkers.applied(on, applied);
  }

  settled(_on: TestServer, _settlement: Settlement): void {}

  transition(on: TestServer, transition: Transition): void {
    this.#checkers.transition(on, transition);
    this.#transitions.push(`${on.id} ${describeTransition(transition)}`);
  }
}
