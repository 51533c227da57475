import type { Random } from '../base/random.ts';
import type { Change, Sender, Ticket } from './events.ts';
import type { Log } from './log.ts';
import type { RaftOptions } from './options.ts';
import type { Outbox } from './outbox.ts';
import type { Progress } from './progress.ts';
import type { Rounds } from './rounds.ts';
import type { Index, Instant, Server, ServerId, Term, Vote } from './types.ts';

/** Everything one server knows. The modules beside this file are functions on it. */
export interface Core {
  readonly options: RaftOptions;
  readonly random: Random;
  readonly log: Log;
  readonly outbox: Outbox;
  /** The instant of the event being handled. */
  now: Instant;
  /** Current term and vote, durable or on the way to the disk. */
  vote: Vote;
  state: Follower | Candidate | Leader;
  /** Since a leader was last heard another candidate was let go first. */
  gaveWay: boolean;
  /** Known to be committed. */
  commitIndex: Index;
  /** Handed out to the machine. */
  appliedIndex: Index;
  /** Data bytes of the entries behind `appliedIndex`. */
  unappliedBytes: number;
  /** The newest write known to be on disk. */
  durableWrite: number;
  /** Our own snapshot that is being written, if any; the next one is not tried before `retryAt` is applied. */
  /** `sizeBytes`: what the last snapshot taken here held. */
  readonly snapshots: { taking: boolean; retryAt: Index; sizeBytes: number };
}

export interface Follower {
  readonly kind: 'follower';
  /** Who sent the newest AppendEntries of this term. */
  leader: Sender | undefined;
  /** The connection on which the leader sends broke: it is named to nobody until it is heard again. */
  suspected: boolean;
  /** When a leader was last heard: for T from then on nobody else gets our vote. */
  heardAt: Instant;
  /** The drawn election timeout: kept while a leader is heard, drawn anew with every change of state. */
  electionMs: number;
  electionAt: Instant;
}

export interface Candidate {
  readonly kind: 'preCandidate' | 'candidate';
  /** The term that the election is for: in a pre-vote the one that would be started. */
  readonly term: Term;
  readonly granted: Set<ServerId>;
  /** The leader asked for this election. */
  readonly disruptLeader: boolean;
  /** The write that makes our own vote durable; it counts from then on. */
  readonly voteWrite: number;
  /** When the election has failed. */
  readonly electionAt: Instant;
  /** How often voters were asked. */
  asked: number;
  /** When those that have not granted are asked again. */
  askAgainAt: Instant;
}

export interface Leader {
  readonly kind: 'leader';
  /** This server, as it is known while it removes itself, too. */
  readonly self: Sender;
  /** All other members, and one that is parting. */
  readonly progress: Map<ServerId, Progress>;
  readonly rounds: Rounds;
  /** The first entry of this term: when it is committed, so is everything that came before. */
  readonly barrierIndex: Index;
  /** Who proposed the entry at this index: unanswered proposals of this leadership. */
  readonly tickets: Map<Index, Ticket>;
  readonly reads: Reads;
  change: PendingChange | undefined;
  parting: Parting | undefined;
  transfer: Transfer | undefined;
  /** A TimeoutNow may still be on its way to this server: it obeys until its log grows past the index. */
  looseTimeoutNow: { readonly to: ServerId; readonly lastIndex: Index } | undefined;
  /** When the next heartbeats are due. */
  beatAt: Instant;
  leaseUntil: Instant;
}

/** Reads that wait for proof of leadership: those of the round under way, and those that came later. */
export interface Reads {
  waiting: Ticket[];
  round: number;
  inRound: Ticket[];
  index: Index;
}

/**
 * A membership change under way. `held` until the barrier is committed; `catchUp` while the server to be
 * promoted is fed; `appended` once its entry is in the log.
 */
export interface PendingChange {
  readonly ticket: Ticket;
  readonly change: Change;
  phase: 'held' | 'catchUp' | 'appended';
  /** `catchUp`: the index to reach in this round, the number of the round, and when it began. */
  target: Index;
  round: number;
  roundAt: Instant;
  /** `appended`: where. */
  index: Index;
}

/**
 * A server that was removed or made a spare: nobody would send it the entry that says so. It is sent entries
 * until it knows, so that it does not go on asking for votes, but not for ever.
 */
export interface Parting {
  readonly server: Server;
  readonly index: Index;
  readonly deadline: Instant;
}

export interface Transfer {
  readonly ticket: Ticket;
  readonly to: ServerId;
  readonly deadline: Instant;
  /** The end of the log in the newest TimeoutNow: an older one is obeyed no more. */
  sentIndex: Index | undefined;
}

export const never = Number.NEGATIVE_INFINITY as Instant;
export const forever = Number.POSITIVE_INFINITY as Instant;

/** `at` plus a duration. */
export function after(at: Instant, durationMs: number): Instant {
  return (at + durationMs) as Instant;
}

export function currentTerm(core: Core): Term {
  return core.vote.term;
}

/** The members in force. */
export function servers(core: Core): readonly Server[] {
  return core.log.configuration.configuration.servers;
}

export function voters(core: Core): readonly Server[] {
  return servers(core).filter((server) => server.role === 'voter');
}

export function findServer(core: Core, id: ServerId): Server | undefined {
  return servers(core).find((server) => server.id === id);
}

export function isVoter(core: Core): boolean {
  return findServer(core, core.options.id)?.role === 'voter';
}

export function isSoleVoter(core: Core): boolean {
  return isVoter(core) && voters(core).length === 1;
}

/**
 * Only voters stand for election: servers that were removed do no harm. But "a server that is not part of its
 * own latest configuration should still start new elections, as it might still be needed until the Cnew entry
 * is committed" (Raft dissertation, section 4.2.2): nobody else may have that entry.
 */
export function mayCampaign(core: Core): boolean {
  const { commitIndex, log, options } = core;
  if (isVoter(core)) return true;
  if (log.configuration.index <= commitIndex) return false;
  return formerServer(core, options.id)?.role === 'voter';
}

/** A member of the configuration before the one in force. */
export function formerServer(core: Core, id: ServerId): Server | undefined {
  const { log } = core;
  const { configuration } = log.configurationAt((log.configuration.index - 1) as Index);
  return configuration.servers.find((server) => server.id === id);
}

/** A random duration in [T, 2T) (Raft paper, section 5.2: "election timeouts are chosen randomly"). */
export function drawElectionMs(core: Core): number {
  return core.options.electionTimeoutMs * (1 + chance(core));
}

/** A random number in [0, 1). */
export function chance(core: Core): number {
  const parts = 1 << 20;
  return core.random.int(0, parts - 1) / parts;
}

/** Adopts term and vote; durable before anything that depends on them leaves. */
export function setVote(core: Core, vote: Vote): void {
  core.vote = vote;
  core.outbox.vote(vote);
}

/**
 * Becomes a follower of `term`, which is not below the current one. What the leader or candidate of before
 * had under way is refused; its unanswered proposals end with the transition.
 */
export function becomeFollower(core: Core, term: Term, leader: Sender | undefined): void {
  if (core.state.kind === 'leader') abandon(core, core.state);
  if (term > currentTerm(core)) setVote(core, { term, votedFor: undefined });
  // A higher term does not undo what was heard: the old leader's lease counts on our refusing votes until then.
  const before = core.state.kind === 'follower' ? core.state.heardAt : never;
  const heardAt = leader === undefined ? before : core.now;
  core.state = {
    kind: 'follower',
    leader,
    suspected: false,
    heardAt,
    electionMs: 0,
    electionAt: core.now,
  };
  restartTimer(core);
}

/** A follower's time until it stands for election begins anew, with a new draw. */
export function restartTimer(core: Core): void {
  if (core.state.kind !== 'follower') return;
  core.state.electionMs = drawElectionMs(core);
  core.state.electionAt = after(core.now, core.state.electionMs);
}

/** Settles what cannot be finished by a server that no longer leads. */
function abandon(core: Core, leader: Leader): void {
  const { reads, change, transfer } = leader;
  for (const ticket of [...reads.inRound, ...reads.waiting]) {
    core.outbox.refuse(ticket, 'leadershipLost');
  }
  if (change !== undefined) core.outbox.refuse(change.ticket, 'serverLeadershipLost');
  if (transfer !== undefined) core.outbox.done(transfer.ticket, core.appliedIndex);
}
