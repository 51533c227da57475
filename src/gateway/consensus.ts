import type { ServerId } from '../base/ids.ts';
import type { Change, Transition } from '../raft/events.ts';
import type { Proposer } from '../sql/state-machine.ts';

/**
 * What sessions need from Raft. The driver may run on another thread: nothing here waits for it but what
 * returns a promise.
 */
export interface Consensus extends Proposer {
  /** This server's place in the cluster, as last heard. */
  readonly transition: Transition;
  /** A majority still followed this leader a moment ago: local reads are linearizable (dissertation 6.4.1). */
  leaseHeld(): boolean;
  /**
   * Resolves once a majority confirmed that this server led when it was called, and everything committed
   * by then is applied here. Rejects with `notLeader` or `leadershipLost`.
   */
  confirmLeadership(): Promise<void>;
  /** Resolves once the change is committed; rejects with the row of the error table that says why not. */
  change(change: Change): Promise<void>;
  /** Resolves once another server leads. */
  transfer(to: ServerId | undefined): Promise<void>;
}
