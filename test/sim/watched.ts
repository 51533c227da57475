import type { Persist, Transition } from '../../src/raft/events.ts';
import type { ServerId, SnapshotMeta, Vote } from '../../src/raft/types.ts';
import { type Chain, sameChain } from './chain.ts';
import type { LogMirror, MirrorEntry } from './log-mirror.ts';
import { Violation } from './violation.ts';

/** What a write leaves behind once it is durable. */
export interface Issued {
  readonly write: number;
  readonly vote: Vote | undefined;
  readonly installed: MirrorEntry | undefined;
  readonly truncateFrom: number | undefined;
  readonly appended: readonly MirrorEntry[];
}

/** What is known of one host from outside. */
export interface Watched {
  /** The log as Raft has it in memory. */
  log: LogMirror;
  /** What its disk has promised to keep. */
  durable: LogMirror;
  durableVote: Vote | undefined;
  durableSnapshot: number;
  /** Handed to the disk, not yet promised. */
  issued: Issued[];
  appliedIndex: number;
  appliedChain: Chain;
  transition: Transition | undefined;
  /** It has told another to take over in this term. */
  handedOverIn: number | undefined;
  /** It had a vote when it was elected last. */
  electedAsVoter: boolean;
  /** The newest change that came into its log, and the one before. */
  started: { readonly index: number; readonly term: number; readonly before: number } | undefined;
}

/** What a leader appends behind its own successor is lost: clients that wrote before the handover keep their writes. */
export function checkHandover(id: ServerId, { handedOverIn }: Watched, { append }: Persist): void {
  const late = append.find(({ term, type }) => term === handedOverIn && type === 'command');
  if (late === undefined) return;
  throw new Violation(`${id} proposes ${late.index} after it has told another to take over`);
}

/** What a leader appends behind its own removal or demotion is lost with its leadership just so. */
export function checkDeposed(id: ServerId, watched: Watched, { append }: Persist): void {
  const { electedAsVoter, transition } = watched;
  // Whoever is elected while its demotion is still open cannot know whether that will be its end.
  if (transition?.state !== 'leader' || !electedAsVoter) return;
  const { configuration, term } = transition;
  if (configuration.servers.some((server) => server.id === id && server.role === 'voter')) return;
  const late = append.find((entry) => entry.term === term && entry.type === 'command');
  if (late === undefined) return;
  throw new Violation(`${id} proposes ${late.index} behind the end of its own vote`);
}

/** Whatever was promised is there; of what was under way any part may be. */
export function checkKept(
  id: ServerId,
  before: Watched,
  now: { vote: Vote; snapshot: SnapshotMeta | undefined; log: LogMirror },
): void {
  const votes = [before.durableVote, ...before.issued.flatMap(({ vote }) => vote ?? [])];
  const isKnown = votes.some(
    (vote) => vote?.term === now.vote.term && vote.votedFor === now.vote.votedFor,
  );
  if (!isKnown) throw new Violation(`${id} lost its vote`);
  const snapshotIndex = now.snapshot?.index ?? 0;
  if (snapshotIndex < before.durableSnapshot) {
    throw new Violation(`${id} lost its snapshot of ${before.durableSnapshot}`);
  }
  const installed = before.issued.some((issued) => issued.installed !== undefined);
  if (installed && snapshotIndex > before.durableSnapshot) return;
  const truncations = before.issued.map(
    ({ truncateFrom }) => truncateFrom ?? Number.POSITIVE_INFINITY,
  );
  const certain = Math.min(before.durable.lastIndex, ...truncations.map((from) => from - 1));
  const promised = before.durable.at(certain);
  const found = now.log.at(certain);
  if (promised === undefined || (found === undefined && now.log.baseIndex >= certain)) return;
  if (found === undefined || !sameChain(found.chain, promised.chain)) {
    throw new Violation(
      `${id} lost entries: ${certain} was durable, ${now.log.lastIndex} is the last`,
    );
  }
}
