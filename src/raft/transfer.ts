import { after, type Core, currentTerm, findServer, type Leader, voters } from './core.ts';
import type { Ticket } from './events.ts';
import type { Progress } from './progress.ts';
import { appendEntry } from './replication.ts';
import type { Server, ServerId } from './types.ts';

/**
 * Hands leadership over (Raft dissertation, section 3.10): the target is brought up to date and told to start
 * an election at once. Whoever proposes stops when the transition says so; what is under way is still taken.
 */
export function onTransfer(core: Core, ticket: Ticket, to: ServerId | undefined): void {
  const { options, outbox, state } = core;
  if (state.kind !== 'leader') {
    outbox.refuse(ticket, 'notLeader');
    return;
  }
  if (state.transfer !== undefined) {
    outbox.refuse(ticket, 'serverNotLeader');
    return;
  }
  const target = to ?? furthest(core, state);
  if (target === undefined) {
    outbox.refuse(ticket, 'serverNotFound');
    return;
  }
  if (target === options.id || findServer(core, target)?.role !== 'voter') {
    outbox.refuse(ticket, 'badServerId');
    return;
  }
  const deadline = after(core.now, options.electionTimeoutMs);
  state.transfer = { ticket, to: target, deadline, sentIndex: undefined };
}

/** The other voter that holds most of the log, among those that answer if there are any. */
function furthest(core: Core, leader: Leader): ServerId | undefined {
  let best: { server: Server; progress: Progress } | undefined;
  for (const server of voters(core)) {
    const progress = leader.progress.get(server.id);
    if (progress === undefined) continue;
    if (best === undefined || isBetter(core, progress, best.progress)) best = { server, progress };
  }
  return best?.server.id;
}

function isBetter(core: Core, a: Progress, b: Progress): boolean {
  const { electionTimeoutMs } = core.options;
  const aliveA = core.now < after(a.heardAt, electionTimeoutMs);
  const aliveB = core.now < after(b.heardAt, electionTimeoutMs);
  return aliveA === aliveB ? a.match > b.match : aliveA;
}

/**
 * Tells the target to take over as soon as it has everything; gives up after T. With `again` it is told once
 * more: the message may have been lost.
 */
export function advanceTransfer(core: Core, leader: Leader, again: boolean): void {
  const { log, outbox } = core;
  const { transfer } = leader;
  forgetTimeoutNow(leader);
  if (transfer === undefined) return;
  const target = findServer(core, transfer.to);
  if (core.now >= transfer.deadline || target?.role !== 'voter') {
    leader.transfer = undefined;
    outbox.refuse(transfer.ticket, 'transferFailed');
    // A TimeoutNow that is still under way is obeyed only by a log that ends where it says: end it elsewhere.
    if (transfer.sentIndex !== undefined) appendEntry(core, 'barrier', Buffer.alloc(8));
    return;
  }
  if (leader.progress.get(target.id)?.match !== log.lastIndex) return;
  // Those who proposed what is not yet committed could not be told what became of it.
  if (core.commitIndex < log.lastIndex) return;
  const { lastIndex, lastTerm } = log;
  if (transfer.sentIndex === lastIndex && !again) return;
  transfer.sentIndex = lastIndex;
  leader.looseTimeoutNow = { to: target.id, lastIndex };
  outbox.send(target, { kind: 'timeoutNow', term: currentTerm(core), lastIndex, lastTerm });
}

/**
 * A leader that was removed or demoted, and is about to step down, has somebody take over at once: nobody need notice its
 * silence first. Whoever has its whole log will do; where nobody has, an election comes by itself.
 */
export function nameSuccessor(core: Core, leader: Leader): void {
  const { lastIndex, lastTerm } = core.log;
  const target = voters(core).find(({ id }) => leader.progress.get(id)?.match === lastIndex);
  if (target === undefined) return;
  core.outbox.send(target, { kind: 'timeoutNow', term: currentTerm(core), lastIndex, lastTerm });
}

/** A TimeoutNow is obeyed no more once its target's log has grown beyond it. */
function forgetTimeoutNow(leader: Leader): void {
  const loose = leader.looseTimeoutNow;
  if (loose === undefined) return;
  if ((leader.progress.get(loose.to)?.match ?? 0) > loose.lastIndex) {
    leader.looseTimeoutNow = undefined;
  }
}
