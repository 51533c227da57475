import { assert } from '../base/assert.ts';
import { DqliteError } from '../base/errors.ts';
import type { Index, ServerId, Term } from '../base/ids.ts';
import type { Consensus } from '../gateway/consensus.ts';
import type { Change, Settlement, Ticket, Transition } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';

/** What a session asks of Raft, wherever Raft runs. */
export type RaftRequest =
  | {
      readonly type: 'propose';
      readonly term: Term;
      readonly ticket: Ticket;
      readonly command: Buffer;
    }
  | { readonly type: 'read'; readonly ticket: Ticket }
  | { readonly type: 'change'; readonly ticket: Ticket; readonly change: Change }
  | { readonly type: 'transfer'; readonly ticket: Ticket; readonly to: ServerId | undefined };

/** How requests reach Raft, and how its lease is read. */
export interface RaftAccess {
  request(request: RaftRequest): void;
  /** Whether the leadership of `term` holds the lease: one that the caller has not heard of proves nothing to it. */
  leaseHeld(term: Term): boolean;
}

interface Waiting {
  resolve(): void;
  reject(error: DqliteError): void;
}

/** The sessions' side of Raft: gives out tickets and turns what becomes of them into promises. */
export class RaftConsensus implements Consensus {
  /** To be driven instead of the machine itself: reads wait for what is applied, sessions see transitions. */
  readonly machine: StateMachine;
  readonly #access: RaftAccess;
  readonly #waiting = new Map<Ticket, Waiting>();
  /** Confirmed reads, and the entry that must be applied before each. */
  #unapplied: { readonly index: Index; readonly waiting: Waiting }[] = [];
  #appliedIndex = 0 as Index;
  /** The newest entry that the machine was given, by itself or in a snapshot. */
  #givenIndex = 0 as Index;
  /** Snapshots on their way into the machine, which keeps back the entries behind them until they are there. */
  #restoring = 0;
  #lastTicket: Ticket = 0;
  /** As Raft said last. */
  #transition: Transition = unknownTransition;
  /** Requests that end this leadership, and whose outcome has not come. */
  #handovers = 0;
  readonly #self: ServerId;
  readonly #announce: () => void;
  #stopped = false;

  /** @param self the id of this server */
  constructor(self: ServerId, machine: StateMachine, access: RaftAccess) {
    this.#self = self;
    this.#access = access;
    this.#announce = () => machine.transition(this.transition);
    this.machine = {
      apply: (entries) => {
        machine.apply(entries);
        const newest = entries.at(-1);
        if (newest !== undefined) this.#given(newest.entry.index);
      },
      transition: (transition) => {
        this.#transition = transition;
        this.#announce();
      },
      takeSnapshot: () => machine.takeSnapshot(),
      restore: async (snapshot) => {
        this.#restoring++;
        try {
          await machine.restore(snapshot);
        } finally {
          this.#restoring--;
        }
        this.#given(snapshot.meta.index);
      },
    };
  }

  get transition(): Transition {
    const transition = this.#transition;
    const transferring = transition.state === 'leader' && this.#handovers > 0;
    return transferring ? { ...transition, transferring } : transition;
  }

  leaseHeld(): boolean {
    return this.#access.leaseHeld(this.#transition.term);
  }

  propose(term: Term, command: Buffer): Ticket {
    assert(this.#handovers === 0, 'nothing is proposed while leadership is handed over');
    const ticket = ++this.#lastTicket;
    this.#access.request({ type: 'propose', term, ticket, command });
    return ticket;
  }

  confirmLeadership(): Promise<void> {
    return this.#ask((ticket) => ({ type: 'read', ticket }));
  }

  /** A leader that is removed or demoted leads no more when that is committed: it is the end of its leadership. */
  change(change: Change): Promise<void> {
    const votes = change.kind === 'add' || (change.kind === 'assign' && change.role === 'voter');
    const request = (ticket: Ticket): RaftRequest => ({ type: 'change', ticket, change });
    return change.id === this.#self && !votes ? this.#askLast(request) : this.#ask(request);
  }

  transfer(to: ServerId | undefined): Promise<void> {
    return this.#askLast((ticket) => ({ type: 'transfer', ticket, to }));
  }

  /** What became of a ticket. Those of proposals are not waited for: a transition tells the machine. */
  settle(settlement: Settlement): void {
    const waiting = this.#waiting.get(settlement.ticket);
    if (waiting === undefined) return;
    this.#waiting.delete(settlement.ticket);
    if (settlement.outcome === 'refused') waiting.reject(DqliteError.of(settlement.why));
    else if (settlement.index <= this.#appliedIndex) waiting.resolve();
    else this.#unapplied.push({ index: settlement.index, waiting });
  }

  /** Raft answers no more: everything that waits fails. */
  stop(): void {
    this.#stopped = true;
    const all = [...this.#waiting.values(), ...this.#unapplied.map(({ waiting }) => waiting)];
    this.#waiting.clear();
    this.#unapplied = [];
    for (const waiting of all) waiting.reject(DqliteError.of('leadershipLost'));
  }

  /**
   * The machine hears of it before Raft does, and proposes nothing until the outcome is known. Requests keep their
   * order on the way to Raft: nothing is proposed behind this one, where it would be lost with the leadership.
   */
  async #askLast(requestOf: (ticket: Ticket) => RaftRequest): Promise<void> {
    this.#handovers++;
    if (this.#transition.state === 'leader') this.#announce();
    try {
      await this.#ask(requestOf);
    } finally {
      this.#handovers--;
      if (this.#transition.state === 'leader') this.#announce();
    }
  }

  #ask(requestOf: (ticket: Ticket) => RaftRequest): Promise<void> {
    if (this.#stopped) return Promise.reject(DqliteError.of('notLeader'));
    const ticket = ++this.#lastTicket;
    return new Promise((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject });
      this.#access.request(requestOf(ticket));
    });
  }

  #given(index: Index): void {
    this.#givenIndex = Math.max(this.#givenIndex, index) as Index;
    if (this.#restoring > 0) return;
    this.#appliedIndex = this.#givenIndex;
    if (this.#unapplied.length === 0) return;
    const ready = this.#unapplied.filter((unapplied) => unapplied.index <= this.#appliedIndex);
    this.#unapplied = this.#unapplied.filter((unapplied) => unapplied.index > this.#appliedIndex);
    for (const { waiting } of ready) waiting.resolve();
  }
}

/** Until Raft has started. */
const unknownTransition: Transition = {
  state: 'follower',
  term: 0 as Term,
  leader: undefined,
  ready: false,
  transferring: false,
  configuration: { servers: [] },
};
