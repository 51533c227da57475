import { assert } from '../base/assert.ts';
import { DqliteError } from '../base/errors.ts';
import type { CapturedPage, Database, SpeculativeTransaction } from '../vfs/database.ts';
import { PendingWait, type Wait, type Waiter } from './waiter.ts';

/** How far execution may run ahead of Raft in one database before writers wait. */
export interface SpeculationLimits {
  /** Transactions captured and not yet committed. */
  readonly maxSpeculativeTransactions: number;
  /** Pages of those transactions: they are held twice, here and on their way through Raft. */
  readonly maxSpeculativePages: number;
}

/** One database of this server: what of it is still on its way through Raft, and who waits for that. */
export class Replica {
  readonly database: Database;
  /** Called when speculation has room again after it had none. */
  onRoom: (() => void) | undefined;
  readonly #limits: SpeculationLimits;
  #transactions = 0;
  #pages = 0;
  #waits: CommitWait[] = [];
  #replicated: boolean;

  /** `replicated`: other servers know this database, not only a client that opened it here. */
  constructor(database: Database, limits: SpeculationLimits, replicated: boolean) {
    this.database = database;
    this.#limits = limits;
    this.#replicated = replicated;
  }

  /** A committed command of the log has touched this database: it belongs into snapshots. */
  get replicated(): boolean {
    return this.#replicated;
  }

  /** Another transaction may be captured. */
  get hasRoom(): boolean {
    return (
      this.#transactions < this.#limits.maxSpeculativeTransactions &&
      this.#pages < this.#limits.maxSpeculativePages
    );
  }

  /** Calls `waiter` when `version` is committed, or with `leadershipLost` when it never will be. */
  whenCommitted(version: number, waiter: Waiter): Wait {
    assert(version > this.database.committedVersion, 'waiting for a version that is committed');
    assert(version <= this.database.headVersion, 'waiting for a version that was dropped');
    const wait = new CommitWait(version, waiter);
    this.#waits.push(wait);
    return wait;
  }

  /** Counts a transaction in that was just captured. */
  captured(transaction: SpeculativeTransaction): void {
    this.#transactions++;
    this.#pages += transaction.pages.length;
  }

  /** The oldest captured transaction is committed. Waiters are called by `wakeCommitted`. */
  commitOldest(): void {
    const transaction = this.database.commitOldest();
    this.#transactions--;
    this.#pages -= transaction.pages.length;
    this.#replicated = true;
  }

  /** Applies what another server's leader committed. */
  applyRemote(pages: readonly CapturedPage[]): void {
    this.database.applyRemote(pages);
    this.#replicated = true;
  }

  /** Calls everyone whose version is committed, then lets the next writers in. */
  wakeCommitted(): void {
    const committed = this.database.committedVersion;
    const waits = this.#waits;
    this.#waits = waits.filter((wait) => wait.version > committed);
    for (const wait of waits) {
      if (wait.version <= committed) wait.resume();
    }
    if (this.hasRoom) this.onRoom?.();
  }

  /** Forgets everything that is not committed. Waiters are called by `failWaiters`. */
  dropSpeculative(): void {
    this.database.dropSpeculative();
    this.#transactions = 0;
    this.#pages = 0;
  }

  failWaiters(): void {
    const waits = this.#waits;
    this.#waits = [];
    for (const wait of waits) wait.fail(DqliteError.of('leadershipLost'));
  }
}

class CommitWait extends PendingWait {
  readonly version: number;

  constructor(version: number, waiter: Waiter) {
    super(waiter);
    this.version = version;
  }
}
