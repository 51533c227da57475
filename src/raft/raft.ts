import { unreachable } from '../base/assert.ts';
import type { Random } from '../base/random.ts';
import {
  type Core,
  currentTerm,
  findServer,
  forever,
  isSoleVoter,
  type Leader,
  never,
  restartTimer,
} from './core.ts';
import {
  hasWon,
  onRequestVote,
  onRequestVoteResult,
  onTimeoutNow,
  suspectLeader,
  tickElection,
} from './election.ts';
import type { Effects, Event, Sender, Transition } from './events.ts';
import { onAppendEntries, onInstallSnapshot, onSnapshotArriving } from './following.ts';
import { beat, becomeLeader, checkQuorum } from './leadership.ts';
import { Log } from './log.ts';
import { advanceChange, advanceParting, depose, isDeposed, onChange } from './membership.ts';
import type { PeerMessage } from './messages.ts';
import type { RaftOptions } from './options.ts';
import { Outbox } from './outbox.ts';
import { advanceReads, onRead, renewLease } from './reads.ts';
import {
  advanceCommit,
  appendEntry,
  handOut,
  onAppendEntriesResult,
  replicate,
} from './replication.ts';
import { expireSnapshots, onSnapshotShipped, onSnapshotTaken, takeWhenDue } from './snapshots.ts';
import { type RaftStatus, statusOf } from './status.ts';
import { advanceTransfer, onTransfer } from './transfer.ts';
import type { Entry, Index, Instant, SnapshotMeta, Term, Vote } from './types.ts';

export type { RaftOptions } from './options.ts';
export { raftOptions } from './options.ts';

/** Adopting a higher term than this would leave no room to count on; a million a second take nine years. */
const maxTerm = 2 ** 48;

/** What survived the last run of this server, and when the new one starts. */
export interface RaftStart {
  readonly now: Instant;
  readonly vote: Vote;
  readonly snapshot: SnapshotMeta | undefined;
  /** Without gaps, up to the end of the log; none between them and the snapshot. */
  readonly entries: readonly Entry[];
}

/**
 * One server's consensus state. No I/O, no timers, no awaits: the same events at the same instants with the
 * same random numbers have the same effects.
 */
export class Raft {
  readonly #core: Core;
  #transition: Transition;

  constructor(options: RaftOptions, start: RaftStart, random: Random) {
    const log = new Log(start.snapshot, start.entries);
    if (start.snapshot !== undefined) {
      log.compact(start.snapshot, options.snapshotTrailing, options.snapshotTrailingBytes);
    }
    const { now, vote } = start;
    // Whoever crashed while it followed a leader may not vote another one in before that leader's lease ends.
    const heardAt = vote.term === 0 ? never : now;
    this.#core = {
      options,
      random,
      log,
      outbox: new Outbox(),
      now,
      vote,
      state: {
        kind: 'follower',
        leader: undefined,
        suspected: false,
        heardAt,
        electionMs: 0,
        electionAt: now,
      },
      gaveWay: false,
      commitIndex: log.snapshotIndex,
      appliedIndex: log.snapshotIndex,
      unappliedBytes: bytesBehind(start.entries, log.snapshotIndex),
      durableWrite: 0,
      snapshots: { taking: false, retryAt: 0 as Index, sizeBytes: 0 },
    };
    // The first timeout is drawn like any other; a sole voter has nobody to wait for.
    if (!isSoleVoter(this.#core)) restartTimer(this.#core);
    this.#transition = transitionOf(this.#core);
  }

  /** Handles one event at `now`, which never goes back. */
  step(event: Event, now: Instant): Effects {
    const core = this.#core;
    core.now = now;
    handle(core, event);
    settle(core);
    return core.outbox.take(this.#changed(), core.durableWrite);
  }

  /** Local reads are linearizable before this instant, and only then (D10). */
  get leaseUntil(): Instant {
    return this.#core.state.kind === 'leader' ? this.#core.state.leaseUntil : never;
  }

  /** The current term. */
  get term(): Term {
    return currentTerm(this.#core);
  }

  /** When the next `tick` has something to do, if nothing else happens before. */
  get nextDeadline(): Instant {
    const { state } = this.#core;
    if (state.kind === 'follower') return state.electionAt;
    if (state.kind !== 'leader') return Math.min(state.electionAt, state.askAgainAt) as Instant;
    return Math.min(state.beatAt, state.transfer?.deadline ?? forever) as Instant;
  }

  /** The server's place in the cluster, as the last step left it. */
  get transition(): Transition {
    return this.#transition;
  }

  status(): RaftStatus {
    return statusOf(this.#core);
  }

  #changed(): Transition | undefined {
    const before = this.#transition;
    const now = transitionOf(this.#core);
    if (
      before.state === now.state &&
      before.term === now.term &&
      before.leader?.id === now.leader?.id &&
      before.leader?.address === now.leader?.address &&
      before.ready === now.ready &&
      before.transferring === now.transferring &&
      before.configuration === now.configuration
    ) {
      return undefined;
    }
    this.#transition = now;
    return now;
  }
}

function bytesBehind(entries: readonly Entry[], index: Index): number {
  return entries.reduce((sum, entry) => sum + (entry.index > index ? entry.data.length : 0), 0);
}

function handle(core: Core, event: Event): void {
  switch (event.type) {
    case 'tick':
      tickElection(core);
      return;
    case 'receive':
      receive(core, event.from, event.message);
      return;
    case 'propose':
      onPropose(core, event);
      return;
    case 'read':
      onRead(core, event.ticket);
      return;
    case 'change':
      onChange(core, event.ticket, event.change);
      return;
    case 'transfer':
      onTransfer(core, event.ticket, event.to);
      return;
    case 'persisted':
      core.durableWrite = event.write;
      core.log.written(event.write);
      return;
    case 'snapshotTaken':
      onSnapshotTaken(core, event.meta, event.sizeBytes);
      return;
    case 'snapshotShipped':
      onSnapshotShipped(core, event.to, event.whole);
      return;
    case 'snapshotArriving':
      onSnapshotArriving(core, event.from, event.term);
      return;
    case 'disconnected':
      suspectLeader(core, event.peer);
      return;
    case 'unreachable':
      if (core.state.kind === 'leader') core.state.progress.get(event.peer)?.becomeUnreachable();
      return;
    default:
      unreachable(event);
  }
}

function receive(core: Core, from: Sender, message: PeerMessage): void {
  if (from.id === core.options.id) {
    core.outbox.ignore(from, 'a peer with our own id');
    return;
  }
  if (message.term > maxTerm) {
    core.outbox.ignore(from, 'a term that no cluster reaches');
    return;
  }
  switch (message.kind) {
    case 'requestVote':
      onRequestVote(core, from, message);
      return;
    case 'requestVoteResult':
      onRequestVoteResult(core, from, message);
      return;
    case 'appendEntries':
      onAppendEntries(core, from, message);
      return;
    case 'appendEntriesResult':
      onAppendEntriesResult(core, from, message);
      return;
    case 'installSnapshot':
      onInstallSnapshot(core, from, message);
      return;
    case 'timeoutNow':
      onTimeoutNow(core, from, message);
      return;
    default:
      unreachable(message);
  }
}

function onPropose(core: Core, event: Extract<Event, { type: 'propose' }>): void {
  const { state } = core;
  const leads = state.kind === 'leader' && event.term === currentTerm(core);
  // Not refused while leadership is handed over: who proposes may hear of that later than Raft, and has built further
  // proposals on those that are under way. Whoever can know (raft-consensus.ts) proposes nothing behind a transfer.
  for (const { ticket, command } of event.proposals) {
    if (!leads) core.outbox.refuse(ticket, 'notLeader');
    else state.tickets.set(appendEntry(core, 'command', command), ticket);
  }
}

/** What follows from the event: everything that a change of matches, terms or time makes possible. */
function settle(core: Core): void {
  if (hasWon(core)) becomeLeader(core);
  if (core.state.kind === 'leader') lead(core, core.state);
  handOut(core);
  takeWhenDue(core);
  if (core.outbox.writes) core.log.writing(core.outbox.nextWrite);
}

function lead(core: Core, leader: Leader): void {
  const due = beat(core, leader);
  if (due && !checkQuorum(core, leader)) return;
  expireSnapshots(core, leader);
  advanceCommit(core, leader);
  handOut(core);
  advanceChange(core, leader);
  advanceParting(core, leader);
  advanceTransfer(core, leader, due);
  renewLease(core, leader);
  const round = advanceReads(core, leader);
  const deposed = isDeposed(core);
  replicate(core, leader, due || round || deposed);
  if (deposed) depose(core, leader);
}

function transitionOf(core: Core): Transition {
  const { state } = core;
  return {
    state: state.kind,
    term: currentTerm(core),
    leader: leaderOf(core),
    ready: state.kind === 'leader' && core.appliedIndex >= state.barrierIndex,
    transferring: state.kind === 'leader' && state.transfer !== undefined,
    configuration: core.log.configuration.configuration,
  };
}

/** The leader under the address that the configuration has for it, where it has one: clients compare. */
function leaderOf(core: Core): Sender | undefined {
  const { state } = core;
  if (state.kind === 'leader') return state.self;
  const sender = state.kind === 'follower' && !state.suspected ? state.leader : undefined;
  const member = sender && findServer(core, sender.id);
  return member === undefined ? sender : { id: member.id, address: member.address };
}
