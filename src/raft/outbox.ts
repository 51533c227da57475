import type { ErrorName } from '../base/errors.ts';
import type {
  Applied,
  Effects,
  Ignored,
  Outbound,
  Sender,
  Settlement,
  Ticket,
  Transition,
} from './events.ts';
import type { PeerMessage } from './messages.ts';
import type { Entry, Index, Server, Snapshot, SnapshotMeta, Term, Vote } from './types.ts';

/** Gathers the effects of one step. */
export class Outbox {
  #lastWrite = 0;
  #lastVoteWrite = 0;
  #vote: Vote | undefined;
  #snapshot: Snapshot | undefined;
  #truncateFrom: Index | undefined;
  #append: Entry[] = [];
  #then: Outbound[] = [];
  #send: Outbound[] = [];
  #apply: Applied[] = [];
  #settle: Settlement[] = [];
  #discard: Snapshot | undefined;
  #takeSnapshot: SnapshotMeta | undefined;
  #shipSnapshot: Effects['shipSnapshot'];
  #ignored: Ignored | undefined;

  /** The number that this step's write has, or would have if there were something to write. */
  get nextWrite(): number {
    return this.#lastWrite + 1;
  }

  vote(vote: Vote): void {
    this.#vote = vote;
  }

  truncate(from: Index): void {
    this.#truncateFrom = from;
  }

  append(entry: Entry): void {
    this.#append.push(entry);
  }

  /** Put the leader's snapshot in place on disk, and into the machine. */
  install(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
  }

  discard(snapshot: Snapshot): void {
    this.#discard = snapshot;
  }

  /** Leaves at once: for what no crash can make untrue. */
  send(to: Outbound['to'], message: PeerMessage): void {
    this.#send.push({ to, message });
  }

  /** Leaves once term, vote and entries of this step are durable. */
  sendDurably(to: Outbound['to'], message: PeerMessage): void {
    this.#then.push({ to, message });
  }

  apply(entry: Entry, ticket: Ticket | undefined): void {
    this.#apply.push({ entry, ticket });
  }

  done(ticket: Ticket, index: Index): void {
    this.#settle.push({ ticket, outcome: 'done', index });
  }

  refuse(ticket: Ticket, why: ErrorName): void {
    this.#settle.push({ ticket, outcome: 'refused', why });
  }

  takeSnapshot(meta: SnapshotMeta): void {
    this.#takeSnapshot = meta;
  }

  /** One in a step: false when another peer has it. */
  shipSnapshot(to: Server, term: Term, meta: SnapshotMeta): boolean {
    if (this.#shipSnapshot !== undefined) return false;
    this.#shipSnapshot = { to, term, meta };
    return true;
  }

  ignore(from: Sender, why: string): void {
    this.#ignored = { from, why };
  }

  /** Whether this step writes anything to disk. */
  get writes(): boolean {
    return (
      this.#vote !== undefined ||
      this.#snapshot !== undefined ||
      this.#truncateFrom !== undefined ||
      this.#append.length > 0
    );
  }

  /**
   * The effects of the step, once. `durableWrite` is the newest write known to be on disk: while a vote or a
   * term is still on its way there, answers queue behind it with a write that is otherwise empty.
   */
  take(transition: Transition | undefined, durableWrite: number): Effects {
    const behindVote = this.#then.length > 0 && this.#lastVoteWrite > durableWrite;
    const persists = this.writes || behindVote;
    if (persists) this.#lastWrite++;
    if (this.#vote !== undefined) this.#lastVoteWrite = this.#lastWrite;
    const persist = !persists
      ? undefined
      : {
          write: this.#lastWrite,
          vote: this.#vote,
          snapshot: this.#snapshot,
          truncateFrom: this.#truncateFrom,
          append: this.#append,
          // biome-ignore lint/suspicious/noThenProperty: never awaited; the contract's name for what follows.
          then: this.#then,
        };
    const effects = {
      persist,
      send: persists ? this.#send : [...this.#send, ...this.#then],
      restore: this.#snapshot,
      discard: this.#discard,
      apply: this.#apply,
      settle: this.#settle,
      takeSnapshot: this.#takeSnapshot,
      shipSnapshot: this.#shipSnapshot,
      transition,
      ignored: this.#ignored,
    };
    this.#clear();
    return effects;
  }

  /** The arrays now belong to the effects, empty or not. */
  #clear(): void {
    this.#vote = undefined;
    this.#snapshot = undefined;
    this.#truncateFrom = undefined;
    this.#append = [];
    this.#then = [];
    this.#send = [];
    this.#apply = [];
    this.#settle = [];
    this.#discard = undefined;
    this.#takeSnapshot = undefined;
    this.#shipSnapshot = undefined;
    this.#ignored = undefined;
  }
}
