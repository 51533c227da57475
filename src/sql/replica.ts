import { assert } from '../base/assert.ts';
import { DqliteError } from '../base/errors.ts';
import type { CapturedPage, Database, SpeculativeTransaction } from '../vfs/database.ts';
import { PendingWait, type Wait, type Waiter } from './waiter.ts';

/** Where the first page holds the size of the database in pages (sqlite.org/fileformat2.html, section 1.3). */
const pageCountOffset = 28;

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
  /** Sessions that have it open. */
  users = 0;
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

  /** The log has created this database, and not deleted it since: it belongs into snapshots. */
  get replicated(): boolean {
    return this.#replicated;
  }

  /** Nobody would miss it: it exists only here, no client has it open, and nothing of it is on its way. */
  get disposable(): boolean {
    const { database } = this;
    return (
      !this.#replicated &&
      this.users === 0 &&
      database.speculativeCount === 0 &&
      database.pinCount === 0
    );
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
    this.#replicated = !isDeletion(transaction.pages);
  }

  /** Applies what another server's leader committed. */
  applyRemote(pages: readonly CapturedPage[]): void {
    this.database.applyRemote(pages);
    this.#replicated = !isDeletion(pages);
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

/** Page 1 alone, of a database without pages: `PRAGMA delete_database` was committed. */
function isDeletion(pages: readonly CapturedPage[]): boolean {
  const [page] = pages;
  if (page?.number !== 1 || pages.length !== 1) return false;
  const { buffer, byteOffset, byteLength } = page.content;
  return Buffer.from(buffer, byteOffset, byteLength).readUInt32BE(pageCountOffset) === 0;
}

class CommitWait extends PendingWait {
  readonly version: number;

  constructor(version: number, waiter: Waiter) {
    super(waiter);
    this.version = version;
  }
}
