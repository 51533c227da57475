import type { ErrorName } from '../base/errors.ts';
import { encodeConfiguration } from '../protocol/configuration.ts';
import {
  after,
  becomeFollower,
  type Core,
  currentTerm,
  findServer,
  isVoter,
  type Leader,
  type PendingChange,
  servers,
  voters,
} from './core.ts';
import type { Change, Ticket } from './events.ts';
import { trackMembers } from './leadership.ts';
import { knowsCommitted } from './reads.ts';
import { appendEntry, sendHeartbeat } from './replication.ts';
import { nameSuccessor } from './transfer.ts';
import type { Configuration, Index, Server } from './types.ts';

/**
 * A membership change: one server at a time, the next only when the last is committed (Raft dissertation,
 * section 4.1). Before the barrier of this term is committed it is held: until then an unfinished change of
 * an earlier leader could be in force elsewhere.
 */
export function onChange(core: Core, ticket: Ticket, change: Change): void {
  const why = refusal(core, change);
  if (why !== undefined || core.state.kind !== 'leader') {
    core.outbox.refuse(ticket, why ?? 'notLeader');
    return;
  }
  const index = 0 as Index;
  core.state.change = {
    ticket,
    change,
    phase: 'held',
    target: index,
    round: 0,
    roundAt: core.now,
    index,
  };
}

function refusal(core: Core, change: Change): ErrorName | undefined {
  const { state } = core;
  if (state.kind !== 'leader') return 'notLeader';
  if (state.transfer !== undefined) return 'serverNotLeader';
  if (state.change !== undefined) return 'changeInProgress';
  return flaw(core, change);
}

/** Why the configuration in force does not allow the change. */
function flaw(core: Core, change: Change): ErrorName | undefined {
  const member = findServer(core, change.id);
  switch (change.kind) {
    case 'add': {
      if (change.id === 0n) return 'badServerId';
      if (member !== undefined) return 'duplicateServerId';
      const taken = servers(core).some((server) => server.address === change.address);
      return taken ? 'duplicateServerAddress' : undefined;
    }
    case 'assign':
      if (member === undefined) return 'serverNotFound';
      if (member.role === change.role) return 'badServerRole';
      return isLastVoter(core, member) ? 'lastVoter' : undefined;
    case 'remove':
      if (member === undefined) return 'badServerId';
      return isLastVoter(core, member) ? 'lastVoter' : undefined;
  }
}

function isLastVoter(core: Core, server: Server): boolean {
  return server.role === 'voter' && voters(core).length === 1;
}

/** Moves the change under way on, as far as it goes now. */
export function advanceChange(core: Core, leader: Leader): void {
  const pending = leader.change;
  if (pending === undefined || leader.transfer !== undefined) return;
  if (pending.phase === 'held') start(core, leader, pending);
  if (pending.phase === 'catchUp') catchUp(core, leader, pending);
  if (pending.phase === 'appended' && core.appliedIndex >= pending.index) {
    leader.change = undefined;
    core.outbox.done(pending.ticket, pending.index);
  }
}

function start(core: Core, leader: Leader, pending: PendingChange): void {
  if (!knowsCommitted(core, leader)) return;
  const { change } = pending;
  const why = flaw(core, change);
  if (why !== undefined) {
    refuse(core, leader, pending, why);
    return;
  }
  const progress = leader.progress.get(change.id);
  const promotes = change.kind === 'assign' && change.role === 'voter';
  if (!promotes || progress === undefined) {
    append(core, leader, pending);
    return;
  }
  pending.phase = 'catchUp';
  pending.target = core.log.lastIndex;
  pending.round = 1;
  pending.roundAt = core.now;
  progress.heardAt = core.now;
  // It may never have been sent anything: ask it where it is with the next tick, which is due now.
  leader.beatAt = core.now;
}

/**
 * Feeds the server to be promoted in rounds, each up to where the log ended when the round began, until one
 * takes less than T: then its vote will not hold up commits for longer than an election would (Raft
 * dissertation, section 4.2.1).
 */
function catchUp(core: Core, leader: Leader, pending: PendingChange): void {
  const { options } = core;
  const match = leader.progress.get(pending.change.id)?.match ?? 0;
  const tookMs = core.now - pending.roundAt;
  const slow = tookMs >= options.electionTimeoutMs;
  if (match >= core.log.lastIndex) {
    append(core, leader, pending);
    return;
  }
  if (match < pending.target) {
    const last = pending.round >= options.maxCatchUpRounds && slow;
    if (last || tookMs >= options.maxCatchUpRoundMs) refuse(core, leader, pending, 'noConnection');
    return;
  }
  if (!slow) {
    append(core, leader, pending);
    return;
  }
  if (pending.round >= options.maxCatchUpRounds) {
    refuse(core, leader, pending, 'noConnection');
    return;
  }
  pending.round++;
  pending.roundAt = core.now;
  pending.target = core.log.lastIndex;
}

function refuse(core: Core, leader: Leader, pending: PendingChange, why: ErrorName): void {
  leader.change = undefined;
  core.outbox.refuse(pending.ticket, why);
}

/** The new configuration is in force here from now on, committed or not (Raft paper, section 6). */
function append(core: Core, leader: Leader, pending: PendingChange): void {
  const server = findServer(core, pending.change.id);
  const data = encodeConfiguration(changed({ servers: servers(core) }, pending.change));
  const index = appendEntry(core, 'change', data);
  pending.index = index;
  pending.phase = 'appended';
  if (server !== undefined && server.id !== core.options.id && isLeaving(core, server)) {
    const deadline = after(core.now, core.options.electionTimeoutMs);
    leader.parting = { server, index, deadline };
  }
  trackMembers(core, leader);
}

/** Whether it was sent entries before the change that is in force now, and is not any more. */
function isLeaving(core: Core, server: Server): boolean {
  const now = findServer(core, server.id);
  return server.role !== 'spare' && (now === undefined || now.role === 'spare');
}

/** Lets go of a parting server when it knows, or after T. */
export function advanceParting(core: Core, leader: Leader): void {
  const { parting } = leader;
  if (parting === undefined) return;
  const progress = leader.progress.get(parting.server.id);
  const knows = (progress?.match ?? 0) >= parting.index && core.commitIndex >= parting.index;
  if (!knows && core.now < parting.deadline) return;
  if (knows && progress !== undefined) sendHeartbeat(core, leader, parting.server, progress);
  leader.parting = undefined;
  trackMembers(core, leader);
}

function changed({ servers: all }: Configuration, change: Change): Configuration {
  switch (change.kind) {
    case 'add':
      return { servers: [...all, { id: change.id, address: change.address, role: 'spare' }] };
    case 'assign':
      return {
        servers: all.map((server) =>
          server.id === change.id ? { ...server, role: change.role } : server,
        ),
      };
    case 'remove':
      return { servers: all.filter((server) => server.id !== change.id) };
  }
}

/**
 * A leader that was removed or demoted "steps down (returns to follower state) once it has committed" that
 * entry (Raft paper, section 6).
 */
export function isDeposed(core: Core): boolean {
  return !isVoter(core) && core.appliedIndex >= core.log.configuration.index;
}

/** Steps down; the others have been told of the commit. */
export function depose(core: Core, leader: Leader): void {
  nameSuccessor(core, leader);
  becomeFollower(core, currentTerm(core), undefined);
}
