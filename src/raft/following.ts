import { WireError } from '../base/errors.ts';
import { decodeConfiguration } from '../protocol/configuration.ts';
import { after, becomeFollower, type Core, currentTerm } from './core.ts';
import type { Sender } from './events.ts';
import type { AppendEntries, InstallSnapshot } from './messages.ts';
import type { Entry, Index, Term } from './types.ts';

/** The leader's entries, or its heartbeat (Raft paper, section 5.3). Answered once they are durable. */
export function onAppendEntries(core: Core, from: Sender, message: AppendEntries): void {
  if (message.term < currentTerm(core)) {
    // Its round was numbered in another leadership: echoing it could prove a contact that never was.
    answer(core, from, message.prevIndex, core.log.lastIndex, 0);
    return;
  }
  const wrong = flaw(core, message);
  if (wrong !== undefined) {
    core.outbox.ignore(from, wrong);
    return;
  }
  follow(core, from, message.term);
  const { log } = core;
  const { prevIndex, prevTerm, round } = message;
  // What is committed here is in the log of every later leader: it agrees without being looked at.
  if (prevIndex > core.commitIndex && log.termAt(prevIndex) !== prevTerm) {
    answer(core, from, prevIndex, log.agreeableIndex(prevIndex, prevTerm), round);
    return;
  }
  const appended = appendNew(core, message.entries);
  const vouched = Math.max(prevIndex + message.entries.length, core.commitIndex) as Index;
  core.commitIndex = Math.max(core.commitIndex, Math.min(message.leaderCommit, vouched)) as Index;
  const durable = appended ? vouched : (Math.min(vouched, log.durableIndex) as Index);
  answer(core, from, 0 as Index, durable, round);
}

/** What no correct leader of this term would send; undefined when all is well. */
function flaw(core: Core, message: AppendEntries): string | undefined {
  if (core.state.kind === 'leader' && message.term === currentTerm(core)) {
    return 'another leader in our own term';
  }
  for (const [offset, entry] of message.entries.entries()) {
    if (entry.index !== message.prevIndex + 1 + offset) return 'entries without order';
    if (entry.term > message.term) return 'an entry of a later term than its leader';
    const known = core.log.termAt(entry.index);
    if (entry.index <= core.commitIndex && known !== undefined && known !== entry.term) {
      return 'an entry that contradicts a committed one';
    }
    if (entry.type === 'change' && !isConfiguration(entry)) return 'an undecodable configuration';
  }
  return undefined;
}

function isConfiguration(entry: Entry): boolean {
  try {
    decodeConfiguration(entry.data);
    return true;
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

/** Acknowledges the leader of `term`. */
export function follow(core: Core, leader: Sender, term: Term): void {
  core.gaveWay = false;
  const { state } = core;
  if (term > currentTerm(core) || state.kind !== 'follower') {
    becomeFollower(core, term, leader);
    return;
  }
  const known = state.leader;
  if (known?.id !== leader.id || known.address !== leader.address) state.leader = leader;
  state.suspected = false;
  state.heardAt = core.now;
  state.electionAt = after(core.now, state.electionMs);
}

/**
 * "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry
 * and all that follow it. Append any new entries not already in the log" (Raft paper, figure 2).
 */
function appendNew(core: Core, entries: readonly Entry[]): boolean {
  const { log, outbox } = core;
  const first = entries.findIndex(
    (entry) => entry.index > core.commitIndex && log.termAt(entry.index) !== entry.term,
  );
  if (first === -1) return false;
  const index = entries[first]?.index ?? (0 as Index);
  if (index <= log.lastIndex) {
    for (let at = index; at <= log.lastIndex; at++)
      core.unappliedBytes -= log.entry(at).data.length;
    log.truncateFrom(index);
    outbox.truncate(index);
  }
  for (const entry of entries.slice(first)) {
    log.append(entry);
    outbox.append(entry);
    core.unappliedBytes += entry.data.length;
  }
  return true;
}

/** `rejected` 0: accepted. */
function answer(core: Core, to: Sender, rejected: Index, lastIndex: Index, round: number): void {
  const term = currentTerm(core);
  core.outbox.sendDurably(to, { kind: 'appendEntriesResult', term, rejected, lastIndex, round });
}

/** The leader's snapshot has come whole and lies in a temporary file (Raft paper, section 7). */
export function onInstallSnapshot(core: Core, from: Sender, message: InstallSnapshot): void {
  const { log, outbox } = core;
  const { snapshot, term } = message;
  const { index } = snapshot.meta;
  if (term < currentTerm(core)) {
    outbox.discard(snapshot);
    answer(core, from, index, log.lastIndex, 0);
    return;
  }
  if (core.state.kind === 'leader' && term === currentTerm(core)) {
    outbox.discard(snapshot);
    outbox.ignore(from, 'another leader in our own term');
    return;
  }
  follow(core, from, term);
  if (index <= core.commitIndex || log.termAt(index) === snapshot.meta.term) {
    outbox.discard(snapshot);
    core.commitIndex = Math.max(core.commitIndex, index) as Index;
    answer(core, from, 0 as Index, Math.min(index, log.durableIndex) as Index, 0);
    return;
  }
  log.resetTo(snapshot.meta);
  outbox.install(snapshot);
  core.commitIndex = index;
  core.appliedIndex = index;
  core.unappliedBytes = 0;
  answer(core, from, 0 as Index, index, 0);
}

/** A snapshot holds up the heartbeats behind it: its bytes say as much as they would. */
export function onSnapshotArriving(core: Core, from: Sender, term: Term): void {
  if (term < currentTerm(core)) return;
  if (core.state.kind === 'leader' && term === currentTerm(core)) return;
  follow(core, from, term);
}
