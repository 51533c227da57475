import { type Core, currentTerm, type Leader, servers } from './core.ts';
import type { Transition } from './events.ts';
import { fed } from './replication.ts';
import type { Configuration, Index, Instant, Role, ServerId, Term } from './types.ts';

/** What a server knows about itself and, leading, about the others: for operators and metrics. */
export interface RaftStatus {
  readonly id: ServerId;
  readonly state: Transition['state'];
  readonly term: Term;
  readonly votedFor: ServerId | undefined;
  /** The leader of this term whose connection broke, until it is heard again. */
  readonly suspected: ServerId | undefined;
  /** Who granted a vote in the election under way. */
  readonly votes: readonly ServerId[];
  readonly commitIndex: Index;
  readonly appliedIndex: Index;
  readonly firstIndex: Index;
  readonly lastIndex: Index;
  readonly durableIndex: Index;
  readonly snapshotIndex: Index;
  /** Data bytes of entries that are in the log and not yet handed to the machine. */
  readonly uncommittedBytes: number;
  readonly configuration: Configuration;
  readonly configurationIndex: Index;
  /** When the last leader was heard; -Infinity: never. */
  readonly heardAt: Instant;
  /** The followers, only on a leader. */
  readonly peers: readonly PeerStatus[];
}

/** One follower as its leader sees it. */
export interface PeerStatus {
  readonly id: ServerId;
  readonly address: string;
  readonly role: Role;
  /** `idle`: a spare, which is sent nothing. */
  readonly state: 'probe' | 'pipeline' | 'snapshot' | 'idle';
  readonly match: Index;
  readonly next: Index;
  readonly heardAt: Instant;
  /** How long entries take from leaving to being durable there, smoothed; undefined before the first. */
  readonly answerMs: number | undefined;
}

export function statusOf(core: Core): RaftStatus {
  const { log, state } = core;
  const voting = state.kind === 'preCandidate' || state.kind === 'candidate';
  return {
    id: core.options.id,
    state: state.kind,
    term: currentTerm(core),
    votedFor: core.vote.votedFor,
    suspected: state.kind === 'follower' && state.suspected ? state.leader?.id : undefined,
    votes: voting ? [...state.granted] : [],
    commitIndex: core.commitIndex,
    appliedIndex: core.appliedIndex,
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    durableIndex: log.durableIndex,
    snapshotIndex: log.snapshotIndex,
    uncommittedBytes: core.unappliedBytes,
    configuration: log.configuration.configuration,
    configurationIndex: log.configuration.index,
    heardAt: state.kind === 'follower' ? state.heardAt : core.now,
    peers: state.kind === 'leader' ? peersOf(core, state) : [],
  };
}

function peersOf(core: Core, leader: Leader): PeerStatus[] {
  const active = new Set(fed(core, leader).map(({ server }) => server.id));
  return servers(core).flatMap(({ id, address, role }) => {
    const progress = leader.progress.get(id);
    if (progress === undefined) return [];
    const { answerMs, heardAt, match, next } = progress;
    const state = active.has(id) ? progress.state : 'idle';
    return [{ id, address, role, state, match, next, heardAt, answerMs }];
  });
}
