import { DqliteError, type ErrorName } from '../../src/base/errors.ts';
import type { Index, ServerId, Term } from '../../src/base/ids.ts';
import type { Consensus } from '../../src/gateway/consensus.ts';
import type { Configuration } from '../../src/protocol/log.ts';
import type { Applied, Change, Ticket, Transition } from '../../src/raft/events.ts';
import type { StateMachine } from '../../src/raft/ports.ts';

export const selfId = 1n as ServerId;
export const selfAddress = '127.0.0.1:9001';

/** Raft as a test decides it: commits on demand (or at once), confirms on demand, loses leadership when told. */
export class FakeConsensus implements Consensus {
  machine: StateMachine | undefined;
  transition: Transition;
  /** What `leaseHeld` says. */
  lease = true;
  /** Commit in the next microtask whatever is proposed. */
  committing = true;
  /** Commands proposed and not committed yet. */
  waiting: { readonly ticket: Ticket; readonly command: Buffer }[] = [];
  /** Every command ever proposed. */
  readonly proposed: Buffer[] = [];
  /** Rounds of confirmLeadership that wait for `confirm`. */
  confirmations: { resolve(): void; reject(error: DqliteError): void }[] = [];
  readonly changes: Change[] = [];
  readonly transfers: (ServerId | undefined)[] = [];
  /** How changes and transfers end; undefined: well. */
  refusal: ErrorName | undefined;
  #lastTicket = 0;
  #index = 0;

  constructor(configuration: Configuration = oneVoter) {
    this.transition = {
      state: 'follower',
      term: 0 as Term,
      leader: undefined,
      ready: false,
      transferring: false,
      configuration,
    };
  }

  leaseHeld(): boolean {
    return this.lease;
  }

  propose(term: Term, command: Buffer): Ticket {
    if (term !== this.transition.term) throw new Error('proposed in another term');
    const ticket = ++this.#lastTicket;
    this.proposed.push(command);
    this.waiting.push({ ticket, command });
    if (this.committing) queueMicrotask(() => this.commit());
    return ticket;
  }

  /** Commits the oldest `count` commands in one batch. */
  commit(count = this.waiting.length): void {
    const oldest = this.waiting.splice(0, count);
    this.apply(oldest.map(({ ticket }) => this.entry(Buffer.alloc(0), ticket)));
  }

  /** Commits a command of another server. */
  commitForeign(command: Buffer): void {
    this.apply([this.entry(command, undefined)]);
  }

  entry(data: Buffer, ticket: Ticket | undefined): Applied {
    const index = ++this.#index as Index;
    return { entry: { index, term: this.transition.term, type: 'command', data }, ticket };
  }

  apply(entries: readonly Applied[]): void {
    if (entries.length > 0) this.machine?.apply(entries);
  }

  become(change: Partial<Transition>): void {
    this.transition = { ...this.transition, ...change };
    this.machine?.transition(this.transition);
  }

  /** Becomes leader of the next term. */
  lead(ready = true): void {
    const term = (this.transition.term + 1) as Term;
    const leader = { id: selfId, address: selfAddress };
    this.become({ state: 'leader', term, leader, ready, transferring: false });
  }

  /** Another server leads; what waits is void. */
  loseLeadership(): void {
    this.waiting = [];
    const term = (this.transition.term + 1) as Term;
    const leader = { id: 2n as ServerId, address: '127.0.0.1:9002' };
    this.become({ state: 'follower', term, leader, ready: false, transferring: false });
  }

  confirmLeadership(): Promise<void> {
    return new Promise((resolve, reject) => this.confirmations.push({ resolve, reject }));
  }

  /** Ends all rounds that wait. */
  confirm(refusal?: ErrorName): void {
    for (const { resolve, reject } of this.confirmations.splice(0)) {
      if (refusal === undefined) resolve();
      else reject(DqliteError.of(refusal));
    }
  }

  change(change: Change): Promise<void> {
    this.changes.push(change);
    return this.#outcome();
  }

  transfer(to: ServerId | undefined): Promise<void> {
    this.transfers.push(to);
    return this.#outcome();
  }

  #outcome(): Promise<void> {
    if (this.refusal === undefined) return Promise.resolve();
    return Promise.reject(DqliteError.of(this.refusal));
  }
}

const oneVoter: Configuration = {
  servers: [{ id: selfId, address: selfAddress, role: 'voter' }],
};
