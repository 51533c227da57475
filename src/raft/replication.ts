import { assert } from '../base/assert.ts';
import { after, becomeFollower, type Core, currentTerm, type Leader, servers } from './core.ts';
import type { Sender } from './events.ts';
import type { AppendEntriesResult } from './messages.ts';
import type { Progress } from './progress.ts';
import { reachedByVoters } from './quorum.ts';
import { shipSnapshot } from './snapshots.ts';
import type { Entry, Index, Server, Term } from './types.ts';

/** The leader's own entries: they go to its disk and to the followers in parallel. */
export function appendEntry(core: Core, type: Entry['type'], data: Buffer): Index {
  const { log, outbox } = core;
  // C servers stop for good on anything else.
  assert(data.length > 0 && data.length % 8 === 0, 'entries are whole words');
  const index = (log.lastIndex + 1) as Index;
  const entry: Entry = { index, term: currentTerm(core), type, data };
  log.append(entry);
  outbox.append(entry);
  core.unappliedBytes += data.length;
  return index;
}

/**
 * Whether a member is sent entries and heartbeats: voters and standbys, and a spare only while it catches up
 * to be promoted.
 */
function isFed(leader: Leader, server: Server): boolean {
  if (server.role !== 'spare') return true;
  return leader.change?.phase === 'catchUp' && leader.change.change.id === server.id;
}

/** Those that are sent entries and heartbeats, with their progress. */
export function fed(core: Core, leader: Leader): { server: Server; progress: Progress }[] {
  const all: { server: Server; progress: Progress }[] = [];
  for (const server of servers(core)) {
    const progress = leader.progress.get(server.id);
    if (progress !== undefined && isFed(leader, server)) all.push({ server, progress });
  }
  const { parting } = leader;
  const progress = parting && leader.progress.get(parting.server.id);
  if (parting !== undefined && progress !== undefined)
    all.push({ server: parting.server, progress });
  return all;
}

/** Sends every follower what it has room for; with `heartbeat` at least one message each. */
export function replicate(core: Core, leader: Leader, heartbeat: boolean): void {
  for (const { server, progress } of fed(core, leader)) {
    let sent = false;
    while (sendEntries(core, leader, server, progress)) sent = true;
    if (heartbeat) beatOne(core, leader, server, progress, sent);
  }
}

function beatOne(
  core: Core,
  leader: Leader,
  server: Server,
  progress: Progress,
  sent: boolean,
): void {
  const { electionTimeoutMs, heartbeatMs } = core.options;
  const alive = core.now < after(progress.heardAt, electionTimeoutMs);
  const wanted = alive ? progress.burst(core.now, heartbeatMs) : 1;
  for (let count = sent ? 1 : 0; count < wanted; count++) {
    sendHeartbeat(core, leader, server, progress);
  }
}

/** One message with entries: true when there was one, and perhaps another may follow. */
function sendEntries(core: Core, leader: Leader, server: Server, progress: Progress): boolean {
  const { log, options } = core;
  if (progress.next > log.lastIndex || progress.state === 'snapshot') return false;
  if (!hasEntries(core, progress.next)) {
    shipSnapshot(core, leader, server, progress);
    return false;
  }
  if (!progress.hasRoom(options)) return false;
  const maxBytes = Math.min(options.maxMessageBytes, options.maxInflightBytes);
  const entries = log.slice(progress.next, options.maxMessageEntries, maxBytes);
  send(core, leader, server, progress, progress.next, entries);
  const lastIndex = (progress.next + entries.length - 1) as Index;
  if (progress.state === 'probe') progress.probeEnd = lastIndex;
  else progress.addInflight(lastIndex, bytesOf(entries), core.now);
  return true;
}

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.data.length;
  return bytes;
}

/**
 * Says that the leader is there. In `probe` the question is repeated, since it or its answer may be lost: with
 * the same entries, so that any answer means the same.
 */
export function sendHeartbeat(
  core: Core,
  leader: Leader,
  server: Server,
  progress: Progress,
): void {
  const { log, options } = core;
  // Without the entries that it needs (a snapshot is on its way, or cannot be sent yet) it is asked about
  // the end of the log: a refusal is an answer, too.
  const usable = progress.state !== 'snapshot' && hasEntries(core, progress.next);
  const next = usable ? progress.next : ((log.lastIndex + 1) as Index);
  if (usable && progress.probeEnd !== undefined) {
    // Whoever is silent for long is asked in few bytes.
    const silent = core.now > after(progress.heardAt, options.electionTimeoutMs);
    if (silent) progress.probeEnd = (next - 1) as Index;
  }
  const count = usable && progress.probeEnd !== undefined ? progress.probeEnd - next + 1 : 0;
  const entries = count > 0 ? log.slice(next, count, Number.POSITIVE_INFINITY) : [];
  send(core, leader, server, progress, next, entries);
}

/** Whether the log in memory reaches back far enough to send from `next` on. */
function hasEntries(core: Core, next: Index): boolean {
  return next >= core.log.firstIndex && core.log.termAt((next - 1) as Index) !== undefined;
}

function send(
  core: Core,
  leader: Leader,
  server: Server,
  progress: Progress,
  next: Index,
  entries: readonly Entry[],
): void {
  const prevIndex = (next - 1) as Index;
  const prevTerm = core.log.termAt(prevIndex) ?? (0 as Term);
  // A follower may take what it stores for what we sent: it is told of no commit beyond what this message
  // vouches for (its own tail may still be another leader's).
  const leaderCommit = Math.min(core.commitIndex, prevIndex + entries.length) as Index;
  const round = currentRound(core, leader);
  const term = currentTerm(core);
  core.outbox.send(server, {
    kind: 'appendEntries',
    term,
    prevIndex,
    prevTerm,
    leaderCommit,
    entries,
    round,
  });
  progress.sent(core.now, round);
}

/** Rounds are a thousandth of T apart: often enough for leases, few enough to remember. */
function currentRound(core: Core, leader: Leader): number {
  const { rounds } = leader;
  const startedAt = rounds.startedAt(rounds.current);
  const apartMs = core.options.electionTimeoutMs / 1000;
  if (startedAt !== undefined && core.now < after(startedAt, apartMs)) return rounds.current;
  return rounds.begin(core.now, core.log.lastIndex);
}

/** A follower says how far it is (Raft paper, section 5.3). */
export function onAppendEntriesResult(
  core: Core,
  from: Sender,
  message: AppendEntriesResult,
): void {
  if (message.term > currentTerm(core)) {
    becomeFollower(core, message.term, undefined);
    return;
  }
  if (message.term < currentTerm(core) || core.state.kind !== 'leader') return;
  const leader = core.state;
  const progress = leader.progress.get(from.id);
  if (progress === undefined) return;
  if (message.rejected === 0) accepted(core, leader, progress, message);
  else rejected(core, progress, message);
  progress.answered(core.now, message.round, progress.match, leader.rounds);
}

/**
 * How much of what a follower stores is known to be ours. Servers without rounds report everything they
 * store, an old leader's tail included: until they hold an entry of this term, only the one message under way
 * vouches for it; afterwards no such tail is left. Ours report only what the message vouched for.
 */
function accepted(
  core: Core,
  leader: Leader,
  progress: Progress,
  message: AppendEntriesResult,
): void {
  const trusted = message.round > 0 || progress.match >= leader.barrierIndex;
  const vouched = trusted ? message.lastIndex : vouchedFor(progress);
  const last = Math.min(message.lastIndex, core.log.lastIndex, vouched) as Index;
  progress.reach(last, core.now);
  if (progress.state === 'snapshot' && progress.match >= progress.snapshotIndex) {
    progress.becomeProbe();
  }
  if (progress.state !== 'probe') return;
  if (message.round > 0 || progress.match >= leader.barrierIndex) progress.becomePipeline();
  else if (last >= (progress.probeEnd ?? 0)) progress.becomeProbe();
}

function vouchedFor(progress: Progress): number {
  if (progress.state === 'snapshot') return progress.snapshotIndex;
  return progress.probeEnd ?? progress.match;
}

/**
 * The logs do not agree at `rejected`: step back to where they may. The follower's last index says where to
 * try next; when it says nothing new, the strides double.
 */
function rejected(core: Core, progress: Progress, message: AppendEntriesResult): void {
  // Heartbeats are refused until the snapshot is in place; a snapshot that failed is given up by time.
  if (progress.state === 'snapshot') return;
  if (message.rejected <= progress.match) return;
  if (progress.state === 'pipeline') {
    progress.becomeProbe();
    return;
  }
  if (message.rejected !== progress.next - 1) return;
  const stride = 2 ** Math.min(progress.rejections, 30);
  const hint = message.lastIndex + 1;
  const back = hint < message.rejected ? hint : message.rejected - stride + 1;
  const rejections = progress.rejections + 1;
  progress.next = Math.max(progress.match + 1, Math.min(back, core.log.lastIndex + 1)) as Index;
  progress.becomeProbe();
  progress.rejections = rejections;
}

/**
 * "If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N, and log[N].term ==
 * currentTerm: set commitIndex = N" (Raft paper, figure 2). The leader's own match is what its disk holds.
 */
export function advanceCommit(core: Core, leader: Leader): void {
  const { log } = core;
  const own = { own: log.durableIndex, missing: 0 };
  const reached = reachedByVoters(core, leader, ({ match }) => match, own);
  if (reached <= core.commitIndex || log.termAt(reached as Index) !== currentTerm(core)) return;
  core.commitIndex = reached as Index;
}

/** Hands committed entries to the machine. A follower's must be on its own disk: a snapshot may follow. */
export function handOut(core: Core): void {
  const { log, outbox, state } = core;
  const leads = state.kind === 'leader';
  const until = leads ? core.commitIndex : Math.min(core.commitIndex, log.durableIndex);
  while (core.appliedIndex < until) {
    const index = (core.appliedIndex + 1) as Index;
    const entry = log.entry(index);
    outbox.apply(entry, leads ? state.tickets.get(index) : undefined);
    if (leads) state.tickets.delete(index);
    core.appliedIndex = index;
    core.unappliedBytes -= entry.data.length;
  }
}
