import {
  after,
  becomeFollower,
  type Core,
  currentTerm,
  findServer,
  forever,
  formerServer,
  type Leader,
  never,
  servers,
} from './core.ts';
import { Progress } from './progress.ts';
import { reachedByVoters } from './quorum.ts';
import { appendEntry } from './replication.ts';
import { Rounds } from './rounds.ts';
import type { Index, Instant, ServerId } from './types.ts';

/**
 * The election is won. The first entry of the term is a barrier: once it is committed, so is everything
 * before it (Raft paper, section 8: "a blank no-op entry").
 */
export function becomeLeader(core: Core): void {
  const next = (core.log.lastIndex + 1) as Index;
  const progress = new Map<ServerId, Progress>();
  for (const server of servers(core)) {
    if (server.id !== core.options.id) progress.set(server.id, new Progress(next, core.now));
  }
  const { id } = core.options;
  const member = findServer(core, id) ?? formerServer(core, id);
  core.state = {
    kind: 'leader',
    self: { id, address: member?.address ?? '' },
    progress,
    rounds: new Rounds(),
    barrierIndex: next,
    tickets: new Map(),
    reads: { waiting: [], round: 0, inRound: [], index: 0 as Index },
    change: undefined,
    parting: undefined,
    transfer: undefined,
    looseTimeoutNow: undefined,
    beatAt: core.now,
    leaseUntil: never,
  };
  appendEntry(core, 'barrier', Buffer.alloc(8));
}

/** The members changed: all others have progress, and nobody else but one that is parting. */
export function trackMembers(core: Core, leader: Leader): void {
  const ids = new Set<ServerId>();
  if (leader.parting !== undefined) ids.add(leader.parting.server.id);
  for (const server of servers(core)) {
    if (server.id === core.options.id) continue;
    ids.add(server.id);
    if (leader.progress.has(server.id)) continue;
    leader.progress.set(server.id, new Progress((core.log.lastIndex + 1) as Index, core.now));
  }
  for (const id of leader.progress.keys()) if (!ids.has(id)) leader.progress.delete(id);
  if (leader.beatAt === forever) leader.beatAt = core.now;
}

/**
 * A leader that no majority has answered for T steps down, so that its clients look elsewhere (Raft
 * dissertation, section 6.2). The window slides: every answer counts for T. True when it still leads.
 */
export function checkQuorum(core: Core, leader: Leader): boolean {
  const ends = { own: forever, missing: never };
  const since = reachedByVoters(core, leader, ({ heardAt }) => heardAt, ends) as Instant;
  if (core.now < after(since, core.options.electionTimeoutMs)) return true;
  becomeFollower(core, currentTerm(core), undefined);
  return false;
}

/** True when heartbeats are due; sets the next time. A leader without followers has none. */
export function beat(core: Core, leader: Leader): boolean {
  if (leader.progress.size === 0) {
    leader.beatAt = forever;
    return false;
  }
  if (core.now < leader.beatAt) return false;
  leader.beatAt = after(core.now, core.options.heartbeatMs);
  return true;
}
