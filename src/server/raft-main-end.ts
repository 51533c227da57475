import { assert, unreachable } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { Instant, Term } from '../base/ids.ts';
import type { Settlement, Ticket } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';
import { type MessageTarget, RaftChannel } from './raft-channel.ts';
import type { RaftAccess, RaftRequest } from './raft-consensus.ts';
import type { SharedLease } from './raft-lease.ts';
import {
  type AppliedBatch,
  batchProposals,
  type FromNode,
  type ToRaft,
  unbatchApplied,
} from './raft-messages.ts';
import { SnapshotBorrower, SnapshotLender } from './raft-snapshot-stream.ts';

/**
 * Batches of proposals that may be on their way through Raft before the next one waits for company. Two keep the disk
 * and the links busy; more of them, each smaller, would only cost more messages, writes and wake-ups.
 */
const MAX_BATCHES_UNDER_WAY = 2;

/**
 * While one batch is on its way the next one leaves in the first turn of the loop that brings no more proposals, and at the
 * latest so long after its first: larger batches cost less, and the disk and the links have something to do meanwhile.
 */
const GATHER_MS = 1;

/**
 * The machine's end of the talk with a Raft on another thread: requests go there in the order they are made, and the
 * machine is driven in the order in which Raft drives it there.
 */
export class MainEnd implements RaftAccess {
  readonly channel: RaftChannel<ToRaft>;
  readonly #clock: Clock;
  readonly #lease: SharedLease;
  readonly #lender: SnapshotLender;
  readonly #borrower: SnapshotBorrower;
  #machine: StateMachine | undefined;
  #onSettle: (settlement: Settlement) => void = () => {};
  #proposals: { ticket: Ticket; command: Buffer }[] = [];
  #proposalTerm = 0 as Term;
  /** The last ticket of each batch that is on its way, oldest first. */
  #underWay: Ticket[] = [];
  /** While a batch gathers proposals: since when, and how many there were in the turn before. */
  #gathering: { readonly since: Instant; count: number } | undefined;
  readonly #gatherOn = (): void => this.#sendOrGatherOn();
  #closed = false;

  constructor(port: MessageTarget, clock: Clock, lease: SharedLease) {
    this.#clock = clock;
    this.channel = new RaftChannel(port, clock);
    this.channel.beforeFlush = () => {
      if (this.#underWay.length < MAX_BATCHES_UNDER_WAY) this.#closeBatch();
    };
    this.#lease = lease;
    this.#lender = new SnapshotLender((message, transfer) =>
      this.channel.post({ type: 'mainSnapshot', message }, transfer),
    );
    this.#borrower = new SnapshotBorrower((message) =>
      this.channel.post({ type: 'raftSnapshot', message }),
    );
  }

  /** The machine is driven from now on. */
  drive(machine: StateMachine, onSettle: (settlement: Settlement) => void): void {
    this.#machine = machine;
    this.#onSettle = onSettle;
  }

  leaseHeld(term: Term): boolean {
    return this.#lease.held(term);
  }

  request(request: RaftRequest): void {
    if (request.type !== 'propose') {
      this.#closeBatch();
      this.channel.post(request);
      return;
    }
    if (this.#proposals.length > 0 && this.#proposalTerm !== request.term) this.#closeBatch();
    this.#proposalTerm = request.term;
    this.#proposals.push(request);
    this.#gather();
  }

  /** Sends now what waits for the end of the turn. */
  flush(): void {
    this.channel.flush();
  }

  receive(message: FromNode): void {
    if (this.#closed) return;
    switch (message.type) {
      case 'apply':
        this.#apply(message);
        return;
      case 'transition':
        if (message.transition.state !== 'leader') this.#arrived(Number.POSITIVE_INFINITY);
        this.#machineToDrive().transition(message.transition);
        return;
      case 'takeSnapshot':
        this.#takeSnapshot(message.request);
        return;
      case 'restore':
        return void this.#restore(message);
      case 'settle':
        if (message.settlement.outcome === 'refused') this.#arrived(message.settlement.ticket);
        this.#onSettle(message.settlement);
        return;
      case 'raftSnapshot':
        this.#borrower.receive(message.message);
        return;
      case 'mainSnapshot':
        this.#lender.receive(message.message);
        return;
      default:
        unreachable(message);
        return;
    }
  }

  /** The other thread is gone: the machine is driven no more, and what was lent to it is released. */
  close(): void {
    this.#closed = true;
    this.#lender.close();
  }

  #closeBatch(): void {
    if (this.#proposals.length === 0) return;
    this.channel.add(batchProposals(this.#proposalTerm, this.#proposals));
    this.#underWay.push(this.#proposals.at(-1)?.ticket ?? 0);
    this.#proposals = [];
  }

  /** Whatever was proposed up to this ticket is on its way no more. */
  #arrived(ticket: Ticket): void {
    const before = this.#underWay.length;
    this.#underWay = this.#underWay.filter((last) => last > ticket);
    if (this.#underWay.length < before) this.#gather();
  }

  #gather(): void {
    const { length: count } = this.#proposals;
    if (count === 0 || this.#underWay.length >= MAX_BATCHES_UNDER_WAY) return;
    if (this.#gathering !== undefined) return;
    this.#gathering = { since: this.#clock.now(), count };
    this.#clock.nextTurn(this.#gatherOn);
  }

  #sendOrGatherOn(): void {
    const gathering = this.#gathering;
    assert(gathering !== undefined, 'a batch gathers');
    const { length: count } = this.#proposals;
    const waits = this.#underWay.length > 0 && this.#clock.now() - gathering.since < GATHER_MS;
    if (waits && count > gathering.count) {
      gathering.count = count;
      this.#clock.nextTurn(this.#gatherOn);
      return;
    }
    this.#gathering = undefined;
    this.channel.flush();
  }

  #machineToDrive(): StateMachine {
    assert(this.#machine !== undefined, 'the machine is driven from the start on');
    return this.#machine;
  }

  #apply(batch: AppliedBatch): void {
    const bytes = batch.data.byteLength;
    // Own tickets only grow; entries of others have none.
    const ticket = batch.tickets.findLast((one) => one > 0);
    if (ticket !== undefined) this.#arrived(ticket);
    this.#machineToDrive().apply(unbatchApplied(batch));
    if (bytes > 0) this.channel.postLater({ type: 'applied', bytes });
  }

  /** Pins the state now, in order; its bytes are fetched by and by. */
  #takeSnapshot(request: number): void {
    const data = this.#machineToDrive().takeSnapshot();
    const snapshot = this.#lender.lend(data);
    const { sizeBytes } = data;
    this.channel.post({ type: 'snapshotReady', request, snapshot, sizeBytes });
  }

  async #restore(message: Extract<FromNode, { type: 'restore' }>): Promise<void> {
    const { request, meta, snapshot, sizeBytes } = message;
    let error: string | undefined;
    try {
      const data = this.#borrower.borrow(snapshot, sizeBytes);
      await this.#machineToDrive().restore({ meta, data });
    } catch (failure) {
      error = failure instanceof Error ? failure.message : String(failure);
    }
    if (!this.#closed) this.channel.post({ type: 'restored', request, error });
  }
}
