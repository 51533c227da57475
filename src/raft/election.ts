import {
  after,
  becomeFollower,
  type Candidate,
  type Core,
  chance,
  currentTerm,
  drawElectionMs,
  isSoleVoter,
  isVoter,
  mayCampaign,
  never,
  restartTimer,
  setVote,
  voters,
} from './core.ts';
import type { Sender } from './events.ts';
import type { RequestVote, RequestVoteResult, TimeoutNow } from './messages.ts';
import { majority } from './quorum.ts';
import type { Index, ServerId, Term } from './types.ts';

/** The time of a follower or candidate passes: silence of the leader starts an election. */
export function tickElection(core: Core): void {
  const { state } = core;
  if (state.kind === 'leader') return;
  if (core.now >= state.electionAt) {
    if (mayCampaign(core)) startPreVote(core);
    else becomeFollower(core, currentTerm(core), undefined);
  } else if (state.kind !== 'follower' && core.now >= state.askAgainAt) {
    ask(core, state);
  }
}

/**
 * The leader's process may be gone: the election begins as soon as leases allow, T after it was last heard, and not at a
 * random instant of [T, 2T). The voters follow each other in the order of their ids instead, a heartbeat apart, so that
 * they do not split the votes. A leader that only lost a connection is heard long before that.
 */
export function suspectLeader(core: Core, peer: ServerId): void {
  const { options, state } = core;
  if (state.kind !== 'follower' || state.leader?.id !== peer || state.suspected) return;
  state.suspected = true;
  if (!mayCampaign(core)) return;
  const before = voters(core).filter(({ id }) => id < options.id && id !== peer);
  const spreadMs = (before.length + chance(core) / 2) * options.heartbeatMs;
  state.electionAt = after(state.heardAt, options.electionTimeoutMs + spreadMs);
}

/**
 * Asks whether an election could be won, without disturbing anybody (Raft dissertation, section 9.6). A sole
 * voter has nobody to ask.
 */
export function startPreVote(core: Core): void {
  if (isSoleVoter(core)) {
    startElection(core, false);
    return;
  }
  const candidate: Candidate = {
    kind: 'preCandidate',
    term: (currentTerm(core) + 1) as Term,
    granted: new Set([core.options.id]),
    disruptLeader: false,
    voteWrite: 0,
    electionAt: after(core.now, drawElectionMs(core)),
    asked: 0,
    askAgainAt: core.now,
  };
  core.state = candidate;
  ask(core, candidate);
}

/**
 * Voters refuse a pre-vote until T after they heard the leader, which may have been a heartbeat later than we did: so long
 * they are asked again soon.
 */
function askAgainMs(core: Core, { asked, kind }: Candidate): number {
  const { heartbeatMs } = core.options;
  return kind === 'preCandidate' && asked <= 4 ? heartbeatMs / 4 : heartbeatMs;
}

/** Starts a new term and votes for itself (Raft paper, section 5.2). */
export function startElection(core: Core, disruptLeader: boolean): void {
  const term = (currentTerm(core) + 1) as Term;
  setVote(core, { term, votedFor: core.options.id });
  const candidate: Candidate = {
    kind: 'candidate',
    term,
    granted: new Set(),
    disruptLeader,
    voteWrite: core.outbox.nextWrite,
    electionAt: after(core.now, drawElectionMs(core)),
    asked: 0,
    askAgainAt: core.now,
  };
  core.state = candidate;
  ask(core, candidate);
}

/** A candidate's own vote counts once it is durable: true when that, or an answer, has won the election. */
export function hasWon(core: Core): boolean {
  const { state } = core;
  if (state.kind !== 'candidate') return false;
  if (core.durableWrite >= state.voteWrite) state.granted.add(core.options.id);
  return hasMajority(core, state);
}

function hasMajority(core: Core, candidate: Candidate): boolean {
  const all = voters(core);
  const granted = all.filter((server) => candidate.granted.has(server.id));
  return granted.length >= majority(all.length) && all.length > 0;
}

function ask(core: Core, candidate: Candidate): void {
  candidate.asked++;
  candidate.askAgainAt = after(core.now, askAgainMs(core, candidate));
  const { log, options, outbox } = core;
  const message: RequestVote = {
    kind: 'requestVote',
    term: candidate.term,
    candidate: options.id,
    lastIndex: log.lastIndex,
    lastTerm: log.lastTerm,
    disruptLeader: candidate.disruptLeader,
    preVote: candidate.kind === 'preCandidate',
  };
  for (const server of voters(core)) {
    if (server.id === options.id || candidate.granted.has(server.id)) continue;
    if (message.preVote) outbox.send(server, message);
    else outbox.sendDurably(server, message);
  }
}

/**
 * A candidate asks for our vote (Raft paper, sections 5.2 and 5.4.1). Our own configuration is not consulted:
 * the entry that makes us a voter may not have reached us, and without our vote it never would (Raft
 * dissertation, section 4.1: "servers process incoming RPC requests without consulting their current
 * configurations"). The candidate counts the votes that count.
 */
export function onRequestVote(core: Core, from: Sender, message: RequestVote): void {
  if (!message.disruptLeader && followsLeader(core)) {
    // Not even the term is looked at: a server that cannot hear the leader must not depose it
    // (Raft dissertation, section 4.2.3), and leases rest on this refusal.
    answer(core, from, message, false);
    return;
  }
  if (message.preVote) {
    const granted = message.term >= currentTerm(core) && isUpToDate(core, message);
    answer(core, from, message, granted);
    if (granted) giveWay(core, message);
    return;
  }
  if (message.term > currentTerm(core)) becomeFollower(core, message.term, undefined);
  const { term, votedFor } = core.vote;
  const granted =
    message.term === term &&
    core.state.kind === 'follower' &&
    (votedFor === undefined || votedFor === message.candidate) &&
    isUpToDate(core, message);
  if (granted) {
    if (votedFor === undefined) setVote(core, { term, votedFor: message.candidate });
    restartTimer(core);
  }
  answer(core, from, message, granted);
}

/**
 * Two that ask each other would both be granted, start the same term and split its votes: the one whose log ends
 * earlier, or whose id is higher, asks again later. Once, since the other may be one that hears no answers.
 */
function giveWay(core: Core, other: RequestVote): void {
  const { log, options } = core;
  if (core.state.kind !== 'preCandidate' || core.gaveWay) return;
  const level = other.lastIndex === log.lastIndex && other.lastTerm === log.lastTerm;
  if (level && other.candidate > options.id) return;
  core.gaveWay = true;
  const delayMs = (2 + chance(core)) * options.heartbeatMs;
  core.state = {
    kind: 'follower',
    leader: undefined,
    suspected: false,
    heardAt: never,
    electionMs: delayMs,
    electionAt: after(core.now, delayMs),
  };
}

/** Leads, or heard a leader less than T ago. */
function followsLeader(core: Core): boolean {
  const { state } = core;
  if (state.kind === 'leader') return true;
  if (state.kind !== 'follower') return false;
  return core.now < after(state.heardAt, core.options.electionTimeoutMs);
}

/**
 * "If the logs have last entries with different terms, then the log with the later term is more up-to-date.
 * If the logs end with the same term, then whichever log is longer" (Raft paper, section 5.4.1).
 */
function isUpToDate(core: Core, candidate: { lastIndex: Index; lastTerm: Term }): boolean {
  const { lastIndex, lastTerm } = core.log;
  if (candidate.lastTerm !== lastTerm) return candidate.lastTerm > lastTerm;
  return candidate.lastIndex >= lastIndex;
}

/** Answers to pre-votes echo the term asked about, unless ours is already beyond it. */
function answer(core: Core, to: Sender, request: RequestVote, granted: boolean): void {
  const own = currentTerm(core);
  const term = request.preVote && request.term > own ? request.term : own;
  const { preVote } = request;
  core.outbox.sendDurably(to, { kind: 'requestVoteResult', term, granted, preVote });
}

/** A voter answers. Votes of other elections, and of servers that are no voters, do not count. */
export function onRequestVoteResult(core: Core, from: Sender, message: RequestVoteResult): void {
  const { state } = core;
  const own = currentTerm(core);
  // A refused pre-vote echoes own + 1, which is nobody's term yet: only beyond that it is news.
  const newer = message.preVote && !message.granted ? own + 1 : own;
  if (message.term > newer && !(message.preVote && message.granted)) {
    becomeFollower(core, message.term, undefined);
    return;
  }
  if (state.kind !== 'preCandidate' && state.kind !== 'candidate') return;
  if (!message.granted || message.term !== state.term) return;
  if (message.preVote !== (state.kind === 'preCandidate')) return;
  if (!voters(core).some((server) => server.id === from.id)) return;
  state.granted.add(from.id);
  if (state.kind === 'preCandidate' && hasMajority(core, state)) startElection(core, false);
}

/**
 * The leader hands over: start an election at once, without the pre-vote that its presence would fail
 * (Raft dissertation, section 3.10). Only with a log that ends exactly as the leader's; its last entries may still be
 * on their way to the disk (a leader may send this right behind them), for our vote and the requests follow them there.
 */
export function onTimeoutNow(core: Core, from: Sender, message: TimeoutNow): void {
  const { log, state } = core;
  if (message.term > currentTerm(core)) {
    becomeFollower(core, message.term, undefined);
    return;
  }
  if (message.term < currentTerm(core) || state.kind !== 'follower') return;
  if (state.leader?.id !== from.id || !isVoter(core)) return;
  if (message.lastIndex !== log.lastIndex || message.lastTerm !== log.lastTerm) return;
  startElection(core, true);
}
