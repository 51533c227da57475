import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type {
  Change,
  Effects,
  Event,
  Persist,
  Sender,
  Settlement,
  Ticket,
  Transition,
} from './events.ts';
import type { AppendEntries, PeerMessage } from './messages.ts';
import type { RaftOptions } from './options.ts';
import type { RaftStore, StateMachine, Transport, TransportEvents } from './ports.ts';
import { Raft } from './raft.ts';
import type { RaftStatus } from './status.ts';
import type { Index, Instant, ServerId, Snapshot, SnapshotMeta, Term } from './types.ts';

/** What a driver drives, and whom it tells. */
export interface DriverParts {
  readonly options: RaftOptions;
  readonly store: RaftStore;
  readonly transport: Transport;
  readonly machine: StateMachine;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Outcomes of reads, changes, transfers and refused proposals; after what they depend on was applied. */
  readonly onSettle: (settlement: Settlement) => void;
  /**
   * The lease was renewed or ended. Called before the messages of the same step leave, so that whoever
   * serves local reads knows of its end before another server can be elected. It belongs to the leadership of
   * `term`: to whoever has not heard of that one yet it says nothing.
   */
  readonly onLease: (until: Instant, term: Term) => void;
  /** A disk that failed one write cannot be trusted with the next: the process must stop. */
  readonly fatal: (error: unknown) => void;
}

/**
 * Feeds Raft with events, one after another, and carries out what it asks for. It decides nothing about
 * consensus: every rule is in Raft. Works wherever its ports do, on the main thread or in a worker.
 */
export class Driver implements TransportEvents {
  readonly #parts: DriverParts;
  #raft: Raft | undefined;
  readonly #inbox: Event[] = [];
  #stepping = false;
  #stopped = false;
  #writesUnderWay = 0;
  /** Snapshots on their way into the machine. */
  #restoring = 0;
  #idle: (() => void) | undefined;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #lease = Number.NEGATIVE_INFINITY as Instant;
  #appliedBytes = 0;

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  /** Loads what is on disk, puts the machine in the state of the newest snapshot, and takes part from then on. */
  async start(): Promise<void> {
    const { clock, machine, options, random, store } = this.#parts;
    const { vote, snapshot: meta, entries } = await store.load();
    if (meta !== undefined) {
      const data = await store.openSnapshot(meta);
      await machine.restore({ meta, data });
      data.release();
    }
    if (this.#stopped) return;
    this.#raft = new Raft(options, { now: clock.now(), vote, snapshot: meta, entries }, random);
    store.space?.onChange(() => this.#spaceChanged());
    this.#spaceChanged();
    this.#handle({ type: 'tick' });
  }

  /** Takes no more part; resolves when the writes under way are done. The store stays open. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#parts.store.space?.giveUp();
    if (this.#writesUnderWay === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /**
   * Proposes commands of the leadership `term`, which travel together. Outcome of each: the machine's `apply` with its
   * ticket, a refusal, or a transition that ends that leadership.
   */
  propose(
    term: Term,
    proposals: readonly { readonly ticket: Ticket; readonly command: Buffer }[],
  ): void {
    this.#handle({ type: 'propose', term, proposals });
  }

  /** ReadIndex: settles when this server is certain to have led after the call. */
  read(ticket: Ticket): void {
    this.#handle({ type: 'read', ticket });
  }

  change(ticket: Ticket, change: Change): void {
    this.#handle({ type: 'change', ticket, change });
  }

  /** Hands leadership to a voter; undefined: to the one that is furthest along. */
  transfer(ticket: Ticket, to: ServerId | undefined): void {
    this.#handle({ type: 'transfer', ticket, to });
  }

  received(from: Sender, message: PeerMessage): void {
    if (message.kind === 'appendEntries' && message.entries.length > 0 && this.#lacksSpace) {
      this.#refuseEntries(from, message);
      return;
    }
    this.#handle({ type: 'receive', from, message });
  }

  disconnected(peer: ServerId): void {
    this.#handle({ type: 'disconnected', peer });
  }

  unreachable(peer: ServerId): void {
    this.#handle({ type: 'unreachable', peer });
  }

  snapshotArriving(from: Sender, term: Term): void {
    this.#handle({ type: 'snapshotArriving', from, term });
  }

  /** Local reads are linearizable before this instant; -Infinity: not at all. */
  get leaseUntil(): Instant {
    return this.#lease;
  }

  /** Data bytes of all entries handed to the machine. */
  get appliedBytes(): number {
    return this.#appliedBytes;
  }

  /** undefined until `start` has loaded the log. */
  status(): RaftStatus | undefined {
    return this.#raft?.status();
  }

  /** This server's place in the cluster; undefined until `start` has loaded the log. */
  get transition(): Transition | undefined {
    return this.#raft && this.#withSpace(this.#raft.transition);
  }

  get #lacksSpace(): boolean {
    return this.#parts.store.space?.lacking === true;
  }

  #withSpace(transition: Transition): Transition {
    return this.#lacksSpace ? { ...transition, lacksSpace: true } : transition;
  }

  #spaceChanged(): void {
    if (this.#raft === undefined || this.#stopped) return;
    this.#parts.machine.transition(this.#withSpace(this.#raft.transition));
  }

  /**
   * A full disk takes no more entries, and must not make votes wait behind them. The leader hears that these do not
   * fit here, which makes it ask again with every heartbeat, and counts as alive: elections go on as ever.
   */
  #refuseEntries(from: Sender, message: AppendEntries): void {
    const { term, prevIndex, round } = message;
    this.#handle({ type: 'snapshotArriving', from, term });
    const status = this.#raft?.status();
    if (status === undefined || status.term !== term || status.state !== 'follower') return;
    // 0 would mean accepted, and a term that is not durable yet must not be answered in.
    if (prevIndex === 0 || this.#writesUnderWay > 0) return;
    const lastIndex = Math.min(prevIndex, status.durableIndex) as Index;
    const kind = 'appendEntriesResult';
    this.#parts.transport.send({
      to: from,
      message: { kind, term, rejected: prevIndex, lastIndex, round },
    });
  }

  /** Queues an event. Events are stepped one after another, never inside one another. */
  #handle(event: Event): void {
    const raft = this.#raft;
    if (raft === undefined || this.#stopped) {
      this.#refuse(event);
      return;
    }
    this.#inbox.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    let next = this.#inbox.shift();
    while (next !== undefined && !this.#stopped) {
      this.#carryOut(raft.step(next, this.#parts.clock.now()), raft);
      next = this.#inbox.shift();
    }
    this.#stepping = false;
    this.#armTimer(raft);
  }

  /** Nobody leads before the start and after the end. */
  #refuse(event: Event): void {
    const { onSettle } = this.#parts;
    switch (event.type) {
      case 'propose':
        for (const { ticket } of event.proposals) {
          onSettle({ ticket, outcome: 'refused', why: 'notLeader' });
        }
        return;
      case 'read':
      case 'change':
      case 'transfer':
        onSettle({ ticket: event.ticket, outcome: 'refused', why: 'notLeader' });
        return;
      case 'receive':
        if (event.message.kind === 'installSnapshot') event.message.snapshot.data.release();
        return;
      default:
    }
  }

  /** The order is the contract of Effects. */
  #carryOut(effects: Effects, raft: Raft): void {
    const { machine, onLease, onSettle, transport, logger } = this.#parts;
    const { leaseUntil } = raft;
    if (leaseUntil !== this.#lease) {
      this.#lease = leaseUntil;
      onLease(leaseUntil, raft.term);
    }
    // Nothing in `send` depends on the disk of this server, and the way to the others is the longer one.
    for (const outbound of effects.send) transport.send(outbound);
    if (effects.send.length > 0 && effects.persist !== undefined) transport.flush();
    const persisted = effects.persist === undefined ? undefined : this.#persist(effects.persist);
    if (effects.restore !== undefined) void this.#restore(effects.restore, persisted);
    effects.discard?.data.release();
    if (effects.apply.length > 0) {
      for (const { entry } of effects.apply) this.#appliedBytes += entry.data.length;
      machine.apply(effects.apply);
    }
    for (const settlement of effects.settle) onSettle(settlement);
    if (effects.takeSnapshot !== undefined) void this.#takeSnapshot(effects.takeSnapshot);
    if (effects.shipSnapshot !== undefined) void this.#shipSnapshot(effects.shipSnapshot);
    if (effects.transition !== undefined) machine.transition(this.#withSpace(effects.transition));
    if (effects.ignored !== undefined) {
      const { from, why } = effects.ignored;
      logger.warn({ peer: from.id, address: from.address, why }, 'message of a peer ignored');
    }
  }

  async #persist(write: Persist): Promise<void> {
    const { fatal, store, transport } = this.#parts;
    this.#writesUnderWay++;
    try {
      await store.persist(write);
    } catch (error) {
      const givenUp = this.#stopped && this.#lacksSpace;
      this.#stopped = true;
      if (!givenUp) fatal(error);
      return;
    } finally {
      this.#writesUnderWay--;
      if (this.#writesUnderWay === 0) this.#idle?.();
    }
    if (this.#stopped) return;
    for (const outbound of write.then) transport.send(outbound);
    this.#handle({ type: 'persisted', write: write.write });
  }

  /** The bytes are free once they are both in place on disk and in the machine. */
  async #restore(snapshot: Snapshot, persisted: Promise<void> | undefined): Promise<void> {
    this.#restoring++;
    try {
      await Promise.all([this.#parts.machine.restore(snapshot), persisted]);
    } catch (error) {
      this.#stopped = true;
      this.#parts.fatal(error);
    }
    this.#restoring--;
    snapshot.data.release();
  }

  /** Failing to write a snapshot costs nothing but the space of the log: it is tried again later. */
  async #takeSnapshot(meta: SnapshotMeta): Promise<void> {
    const { logger, machine, store } = this.#parts;
    if (this.#restoring > 0) {
      // The machine is between two states, and entries wait behind it: there is nothing to pin yet.
      this.#handle({ type: 'snapshotTaken', meta: undefined });
      return;
    }
    const data = machine.takeSnapshot();
    let taken: SnapshotMeta | undefined;
    try {
      await store.writeSnapshot({ meta, data });
      taken = meta;
    } catch (error) {
      logger.warn({ err: error, index: meta.index }, 'snapshot could not be written');
    }
    const sizeBytes = taken === undefined ? 0 : data.sizeBytes;
    data.release();
    this.#handle({ type: 'snapshotTaken', meta: taken, sizeBytes });
  }

  async #shipSnapshot({ to, term, meta }: NonNullable<Effects['shipSnapshot']>): Promise<void> {
    const { logger, store, transport } = this.#parts;
    let whole = false;
    try {
      const data = await store.openSnapshot(meta);
      try {
        whole = await transport.sendSnapshot(to, term, { meta, data });
      } finally {
        data.release();
      }
    } catch (error) {
      logger.error({ err: error, peer: to.id, index: meta.index }, 'snapshot could not be sent');
    }
    this.#handle({ type: 'snapshotShipped', to: to.id, whole });
  }

  /** Sleeps until Raft has something to do. A deadline that moved away is noticed when the timer fires. */
  #armTimer(raft: Raft): void {
    const { clock } = this.#parts;
    const deadline = raft.nextDeadline;
    if (this.#stopped || deadline >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = deadline;
    this.#timer = clock.after(Math.max(0, deadline - clock.now()), () => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      if (raft.nextDeadline <= clock.now()) this.#handle({ type: 'tick' });
      else this.#armTimer(raft);
    });
  }
}
