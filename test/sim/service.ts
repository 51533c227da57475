import type { ServerId, Term } from '../../src/base/ids.ts';
import type { Consensus } from '../../src/gateway/consensus.ts';
import type { StateMachine } from '../../src/raft/ports.ts';
import type { Chain } from './chain.ts';

/** What one process serves its clients: a state machine, and whatever stands before it. */
export interface Service extends StateMachine {
  /** Before anything else: the way to Raft. */
  attach(consensus: Consensus): void;
  /** The newest entry applied. */
  readonly index: number;
  /** A snapshot is taking the place of what it holds: its state is that of no index. */
  readonly restoring: boolean;
  /** The term in which clients may be served here. */
  readonly leadingTerm: Term | undefined;
  /** Hash of what was applied, where the machine keeps one. */
  readonly chain: Chain | undefined;
  /** Equal for equal states only. */
  image(): string;
}

/** Clients of the services of a world. */
export interface Clients {
  /** Writes that they know to have happened. */
  readonly acknowledged: number;
  /** Reads that were answered. */
  readonly reads: number;
  start(): void;
  /** Reads once more than they would by themselves, where whoever is asked may be about to be deposed. */
  probe(id: ServerId): void;
  /** Nothing is lost any more, and everybody takes his time. */
  calm(): void;
  /** At the end, when all hosts agree: what clients were told that cannot be. */
  check(): string | undefined;
}
