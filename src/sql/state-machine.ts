import { assert } from '../base/assert.ts';
import { channels } from '../base/channels.ts';
import type { Clock } from '../base/clock.ts';
import { DqliteError, WireError } from '../base/errors.ts';
import type { Index, Term } from '../base/ids.ts';
import { SharedArena } from '../base/shared-arena.ts';
import { decodeCommand, encodeFrames, pageBytes } from '../protocol/commands.ts';
import type { Applied, Ticket, Transition } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';
import type { Snapshot, SnapshotData } from '../raft/types.ts';
import type { Database, SpeculativeTransaction } from '../vfs/database.ts';
import type { PageStore } from '../vfs/page-store.ts';
import { Replica, type SpeculationLimits } from './replica.ts';
import { restoreDatabases } from './snapshot-reader.ts';
import { snapshotOf } from './snapshot-writer.ts';

/** Where captured transactions go: Raft's driver. */
export interface Proposer {
  /**
   * Hands a command to Raft and returns its ticket. Its outcome is either the state machine's `apply` with
   * this ticket, or a transition that ends the leadership of `term`; neither comes before the call returned.
   * Commands commit in the order they were proposed.
   */
  propose(term: Term, command: Buffer): Ticket;
}

/** What the state machine tells whoever executes SQL on it. */
export interface StateMachineListener {
  /** This server leads and has applied everything that earlier leaders committed: SQL may start. */
  leadershipReady(): void;
  /** What was not committed is gone and its waiters know. */
  leadershipLost(): void;
  /** After these: anything about this server's place in the cluster may have changed. */
  placeChanged(): void;
}

/** Everything the state machine is built from. */
export interface StateMachineParts {
  readonly clock: Clock;
  readonly store: PageStore;
  readonly limits: StateMachineLimits;
  /**
   * A committed entry, or a snapshot, could not be applied. Nothing is applied from here on and no SQL is served:
   * the operator must hear of it.
   */
  readonly onStopped: (reason: string) => void;
}

export interface StateMachineLimits extends SpeculationLimits {
  /** Databases that clients may create here. What other servers committed is applied beyond it. */
  readonly maxDatabases: number;
}

/**
 * The replicated databases of this server. Own transactions were executed before they were proposed: applying
 * one means that the version it made becomes committed. Transactions of other leaders arrive as pages.
 */
export class SqlStateMachine implements StateMachine {
  readonly #parts: StateMachineParts;
  /** Commands cross threads where they lie. */
  readonly #commands = new SharedArena();
  readonly #allocate = (size: number): Buffer => this.#commands.allocate(size);
  #replicas = new Map<string, Replica>();
  #listener: StateMachineListener | undefined;
  /** Own transactions on their way, in the order in which they were proposed. */
  #proposed: Proposal[] = [];
  #transition: Transition | undefined;
  #appliedIndex = 0 as Index;
  #stopped: string | undefined;
  /** Entries that came while a snapshot is being restored: behind the newest, if several are. */
  #held: (readonly Applied[])[] | undefined;
  /** Settles when the last snapshot handed in is in place, or could not be put there. */
  #restored: Promise<void> = Promise.resolve();

  constructor(parts: StateMachineParts) {
    this.#parts = parts;
  }

  /** Tells `listener` of everything from now on. There is one: the gateway. */
  listen(listener: StateMachineListener): void {
    assert(this.#listener === undefined, 'one listener');
    this.#listener = listener;
  }

  /** The newest entry applied here. */
  get appliedIndex(): Index {
    return this.#appliedIndex;
  }

  /** Why nothing is applied any more; undefined while all is well. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** The term in which this server leads and may execute SQL; undefined when it may not (yet). */
  get leadingTerm(): Term | undefined {
    // Raft counts as applied what waits here behind a snapshot.
    if (this.#held !== undefined) return undefined;
    return this.#transition?.ready === true ? this.#electedTerm : undefined;
  }

  /** Elected, but not everything that earlier leaders committed is applied: SQL has to wait. */
  get leadershipPending(): boolean {
    return this.#electedTerm !== undefined && this.leadingTerm === undefined;
  }

  /** Leading, and handing leadership over: writes are refused. */
  get transferring(): boolean {
    return this.#transition?.transferring === true;
  }

  /** The disk of this server is full: writes are refused. */
  get lacksSpace(): boolean {
    return this.#transition?.lacksSpace === true;
  }

  /** A snapshot is replacing the databases: what they hold now is neither the old state nor the new. */
  get restoring(): boolean {
    return this.#held !== undefined;
  }

  /** Transactions of this server's clients are on their way through Raft. */
  get committing(): boolean {
    return this.#proposed.length > 0;
  }

  /** The databases of this server, by name. */
  get replicas(): ReadonlyMap<string, Replica> {
    return this.#replicas;
  }

  /**
   * The database with this name, created when there is none, for a session that calls `close` when it has done.
   * @throws DqliteError `tooManyDatabases`
   */
  open(name: string): Replica {
    const known = this.#replicas.get(name);
    if (known === undefined && this.#replicas.size >= this.#parts.limits.maxDatabases) {
      throw DqliteError.of('tooManyDatabases');
    }
    const replica = known ?? this.#create(name, false);
    replica.users++;
    return replica;
  }

  /** A session that had opened it has done with it. */
  close(replica: Replica): void {
    replica.users--;
    this.#disposeOf(replica);
  }

  /** Proposes what was just captured on this leader. Wait for its version with `Replica.whenCommitted`. */
  submit(transaction: SpeculativeTransaction, proposer: Proposer): void {
    const term = this.leadingTerm;
    assert(term !== undefined, 'captured a transaction without leading');
    const { database, pages } = transaction;
    const replica = this.#replicas.get(database.name);
    assert(
      replica?.database === database,
      'captured a transaction of a database that was replaced',
    );
    replica.captured(transaction);
    const command = encodeFrames(database.name, pages, this.#allocate);
    const ticket = proposer.propose(term, command);
    this.#proposed.push({ ticket, replica });
    if (channels.capture.hasSubscribers) {
      channels.capture.publish({ database: database.name, pages: pages.length });
    }
  }

  apply(entries: readonly Applied[]): void {
    if (this.#held !== undefined) {
      this.#held.push(entries);
      return;
    }
    // Everything is applied before anyone is called: who is called may execute SQL and propose.
    const touched = new Set<Replica>();
    for (const applied of entries) {
      if (this.#stopped !== undefined) break;
      const { index } = applied.entry;
      try {
        const replica = this.#applyOne(applied);
        if (replica !== undefined) touched.add(replica);
        this.#appliedIndex = index;
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        this.#stop(`log entry ${index} cannot be applied: ${error.message}`);
      }
    }
    for (const replica of touched) {
      replica.wakeCommitted();
      this.#disposeOf(replica);
    }
  }

  transition(transition: Transition): void {
    const electedBefore = this.#electedTerm;
    const leadingBefore = this.leadingTerm;
    this.#transition = transition;
    this.#parts.store.leading = this.leadingTerm !== undefined;
    if (electedBefore !== undefined && electedBefore !== this.#electedTerm) this.#loseLeadership();
    const leading = this.leadingTerm;
    if (leading !== undefined && leading !== leadingBefore) this.#listener?.leadershipReady();
    this.#listener?.placeChanged();
  }

  takeSnapshot(): SnapshotData {
    assert(this.#held === undefined, 'a snapshot is taken between restores');
    const databases: Database[] = [];
    for (const replica of this.#replicas.values()) {
      if (replica.replicated) databases.push(replica.database);
    }
    return snapshotOf(databases, this.#parts.clock);
  }

  async restore(snapshot: Snapshot): Promise<void> {
    assert(this.leadingTerm === undefined, 'a leader needs no snapshot');
    // What waits for an older snapshot is part of this one.
    const held: (readonly Applied[])[] = [];
    this.#held = held;
    const restored = this.#restored.then(() => this.#restoreNow(snapshot, held));
    this.#restored = restored.catch(() => {});
    try {
      await restored;
    } finally {
      if (this.#held === held) this.#goOn(held);
    }
  }

  /** Puts it in place unless a newer one has come, which `held` tells. */
  async #restoreNow({ data, meta }: Snapshot, held: readonly unknown[]): Promise<void> {
    if (this.#held !== held) return;
    try {
      const restored = await restoreDatabases(
        data.chunks(),
        (name) => (this.#replicas.get(name) ?? this.#create(name, true)).database,
        this.#parts.clock,
      );
      this.#replaceBy(restored);
      this.#appliedIndex = meta.index;
    } catch (error) {
      // The newer one may have taken its place on disk, too.
      if (this.#held !== held) return;
      // Raft has put the snapshot in place of the log: without it nothing that follows can be applied.
      this.#stop(`the snapshot of entry ${meta.index} cannot be read: ${String(error)}`);
      throw error;
    }
  }

  /** The newest snapshot is in place: what came behind it follows. It may have been elected meanwhile. */
  #goOn(held: readonly (readonly Applied[])[]): void {
    this.#held = undefined;
    for (const entries of held) this.apply(entries);
    if (this.leadingTerm === undefined) return;
    this.#parts.store.leading = true;
    this.#listener?.leadershipReady();
  }

  get #electedTerm(): Term | undefined {
    const transition = this.#transition;
    const leads = transition?.state === 'leader' && this.#stopped === undefined;
    return leads ? transition.term : undefined;
  }

  #create(name: string, replicated: boolean): Replica {
    const database = this.#parts.store.create(name);
    const replica = new Replica(database, this.#parts.limits, replicated);
    this.#replicas.set(name, replica);
    return replica;
  }

  /** What a snapshot does not hold is no more. */
  #replaceBy(restored: ReadonlySet<Database>): void {
    const previous = this.#replicas;
    this.#replicas = new Map();
    for (const [name, { database }] of previous) {
      if (restored.has(database)) {
        this.#replicas.set(name, new Replica(database, this.#parts.limits, true));
      } else if (database.pinCount === 0) {
        database.close();
      } else {
        // A dump is being read: its pages go when it ends.
        database.applyRemote([{ number: 1, content: new Uint8Array(pageBytes) }]);
      }
    }
  }

  #applyOne({ entry, ticket }: Applied): Replica | undefined {
    if (entry.type !== 'command') return undefined;
    return ticket === undefined ? this.#applyRemote(entry.data) : this.#commitOwn(ticket);
  }

  #applyRemote(data: Buffer): Replica | undefined {
    const command = decodeCommand(data);
    // open, undo and checkpoint say nothing that the pages do not say.
    if (command.kind !== 'frames') return undefined;
    if (!command.commit) throw new WireError('part of a transaction');
    const replica = this.#replicas.get(command.name) ?? this.#create(command.name, true);
    replica.applyRemote(command.pages);
    return replica;
  }

  #commitOwn(ticket: Ticket): Replica {
    const proposal = this.#proposed.shift();
    assert(proposal?.ticket === ticket, 'proposals commit in the order they were made');
    proposal.replica.commitOldest();
    return proposal.replica;
  }

  #loseLeadership(): void {
    this.#proposed = [];
    // First nothing speculative is left anywhere, then the waiters hear of it: they may go on with other requests.
    for (const replica of this.#replicas.values()) replica.dropSpeculative();
    for (const replica of this.#replicas.values()) replica.failWaiters();
    this.#listener?.leadershipLost();
    for (const replica of this.#replicas.values()) this.#disposeOf(replica);
  }

  /** Forgets a database that nobody would miss, so that names alone cannot fill the server. */
  #disposeOf(replica: Replica): void {
    const { database } = replica;
    if (!replica.disposable || this.#replicas.get(database.name) !== replica) return;
    this.#replicas.delete(database.name);
    database.close();
  }

  #stop(reason: string): void {
    const led = this.#electedTerm !== undefined;
    this.#stopped = reason;
    this.#parts.store.leading = false;
    if (led) this.#loseLeadership();
    this.#parts.onStopped(reason);
  }
}

interface Proposal {
  readonly ticket: Ticket;
  readonly replica: Replica;
}
