import { after, type Core, forever, type Leader, never, voters } from './core.ts';
import type { Ticket } from './events.ts';
import { reachedByVoters } from './quorum.ts';
import type { Instant } from './types.ts';

/**
 * ReadIndex (Raft dissertation, section 6.4): settles with the commit index of now, once it is certain that
 * this server leads now. At once while the lease holds, else with the next round.
 */
export function onRead(core: Core, ticket: Ticket): void {
  const { state } = core;
  if (state.kind !== 'leader') {
    core.outbox.refuse(ticket, 'notLeader');
    return;
  }
  state.reads.waiting.push(ticket);
}

/**
 * Settles the reads whose round a majority confirmed. True when a round must begin: every follower gets a
 * message of it, and all reads that wait now share it. One round at a time.
 */
export function advanceReads(core: Core, leader: Leader): boolean {
  const { reads } = leader;
  if (reads.inRound.length > 0 && majorityRound(core, leader) >= reads.round) {
    for (const ticket of reads.inRound) core.outbox.done(ticket, reads.index);
    reads.inRound = [];
  }
  if (reads.waiting.length === 0 || !knowsCommitted(core, leader)) return false;
  if (
    core.now < leader.leaseUntil ||
    voters(core).every((server) => server.id === core.options.id)
  ) {
    for (const ticket of reads.waiting) core.outbox.done(ticket, core.commitIndex);
    reads.waiting = [];
    return false;
  }
  if (reads.inRound.length > 0) return false;
  reads.inRound = reads.waiting;
  reads.waiting = [];
  reads.index = core.commitIndex;
  reads.round = leader.rounds.begin(core.now, core.log.lastIndex);
  for (const progress of leader.progress.values()) progress.probeFrom(reads.round, core.now);
  return true;
}

/** Before an entry of its own term is committed a leader cannot know what is (Raft paper, section 8). */
export function knowsCommitted(core: Core, leader: Leader): boolean {
  return core.commitIndex >= leader.barrierIndex;
}

/** The newest round in which a majority followed this leader, itself included while it is a voter. */
function majorityRound(core: Core, leader: Leader): number {
  const own = leader.rounds.current;
  return reachedByVoters(core, leader, ({ contactRound }) => contactRound, { own, missing: 0 });
}

/**
 * Until when no other server can have been elected: those that make a majority refuse votes for T after they
 * followed (election.ts), less what clocks may drift apart. Void until the barrier is applied here, while
 * leadership is handed over, and while a TimeoutNow may be on its way.
 */
export function renewLease(core: Core, leader: Leader): void {
  leader.leaseUntil = mayLease(core, leader) ? leaseUntil(core, leader) : never;
}

function mayLease(core: Core, leader: Leader): boolean {
  if (core.appliedIndex < leader.barrierIndex || leader.transfer !== undefined) return false;
  return leader.looseTimeoutNow === undefined;
}

function leaseUntil(core: Core, leader: Leader): Instant {
  const ends = { own: forever, missing: never };
  const reached = reachedByVoters(core, leader, ({ contactAt }) => contactAt, ends);
  const { electionTimeoutMs, leaseMarginMs } = core.options;
  return after(reached as Instant, electionTimeoutMs - leaseMarginMs);
}
