import { assert } from '../base/assert.ts';
import { pageBytes } from '../protocol/commands.ts';
import type { Database, SpeculativeTransaction } from './database.ts';
import { presentToSqlite } from './page-one.ts';
import type { Snapshot } from './snapshot.ts';
import { lockLevel, resultCode } from './sqlite-codes.ts';
import { WriteTransaction } from './write-transaction.ts';

/**
 * One connection's main database file. SQLite believes in a file with a rollback journal; each call is answered
 * from the snapshot that the current transaction is pinned to.
 */
export class MainFile {
  readonly database: Database;
  /** The next transaction starts on the speculative head instead of what is committed. */
  startsOnHead = false;
  /** Newest version that any transaction was pinned to since this was last set to 0. */
  newestRead = 0;
  /** Captured transactions that nobody has taken yet. */
  readonly captured: SpeculativeTransaction[] = [];
  #level: number = lockLevel.none;
  #snapshot: Snapshot | undefined;
  #transaction: WriteTransaction | undefined;
  /** The write transaction of this lock was doomed: fails until the lock is let go. */
  #failed = false;

  constructor(database: Database) {
    this.database = database;
  }

  /** No transaction is open. */
  get idle(): boolean {
    return this.#level === lockLevel.none;
  }

  /** Holds the writer lock. */
  get writing(): boolean {
    return this.#transaction !== undefined;
  }

  /** The open write transaction. */
  get transaction(): WriteTransaction | undefined {
    return this.#transaction;
  }

  read(memory: Uint8Array, pointer: number, length: number, offset: number): number {
    if (this.#lost) return resultCode.leadershipLost;
    // Without a lock SQLite peeks at the header, when it opens the file.
    const snapshot = this.#snapshot ?? this.database.committed;
    const number = Math.floor(offset / pageBytes) + 1;
    const own = this.#transaction?.page(number);
    const content = own ?? this.database.page(number, snapshot);
    if (content === undefined) {
      memory.fill(0, pointer, pointer + length);
      return resultCode.shortRead;
    }
    const from = offset - (number - 1) * pageBytes;
    if (length === pageBytes) memory.set(content, pointer);
    else for (let i = 0; i < length; i++) memory[pointer + i] = content[from + i] ?? 0;
    if (number === 1) {
      const counter = own === undefined ? snapshot.counter : undefined;
      presentToSqlite(memory, pointer, from, length, counter);
    }
    return resultCode.ok;
  }

  write(memory: Uint8Array, pointer: number, length: number, offset: number): number {
    // Also while the transaction is rolled back: SQLite then forgets its cache as a whole.
    if (this.#lost) return resultCode.leadershipLost;
    const transaction = this.#transaction;
    if (transaction === undefined || length !== pageBytes || offset % pageBytes !== 0) {
      return resultCode.ioErrorWrite;
    }
    const written = transaction.write(offset / pageBytes + 1, memory, pointer);
    return written ? resultCode.ok : resultCode.full;
  }

  truncate(sizeBytes: number): number {
    if (this.#lost) return resultCode.leadershipLost;
    if (this.#transaction === undefined) return resultCode.ioErrorWrite;
    this.#transaction.truncate(Math.ceil(sizeBytes / pageBytes));
    return resultCode.ok;
  }

  get sizeBytes(): number {
    const source = this.#transaction ?? this.#snapshot ?? this.database.committed;
    return source.pageCount * pageBytes;
  }

  lock(level: number): number {
    if (level >= lockLevel.shared && this.#level < lockLevel.shared) {
      if (this.database.closed) return resultCode.leadershipLost;
      this.#pin(this.startsOnHead ? this.database.head : this.database.committed);
      this.#level = lockLevel.shared;
    }
    if (level >= lockLevel.reserved && this.#level < lockLevel.reserved) {
      const refusal = this.#reserve();
      if (refusal !== resultCode.ok) return refusal;
    }
    if (level > this.#level) this.#level = level;
    return resultCode.ok;
  }

  unlock(level: number): number {
    if (this.#level >= lockLevel.reserved && level < lockLevel.reserved) this.#endTransaction();
    if (this.#level >= lockLevel.shared && level < lockLevel.shared) this.#unpin();
    if (level < this.#level) this.#level = level;
    return resultCode.ok;
  }

  /** SQLite's pager has written everything and deleted its journal. */
  commitPhaseTwo(): number {
    if (this.#lost) return resultCode.leadershipLost;
    if (this.#transaction !== undefined) this.#transaction.complete = true;
    return resultCode.ok;
  }

  /**
   * Lets go of everything but what is captured, which is part of the database already. Safe at any moment, also when
   * SQLite did not get to the end of a call.
   */
  abandon(): void {
    if (this.#transaction !== undefined) this.#transaction.complete = false;
    this.unlock(lockLevel.none);
  }

  get #lost(): boolean {
    if (this.#failed || this.#transaction?.doomed === true) return true;
    return this.#snapshot?.dropped === true || this.database.closed;
  }

  #reserve(): number {
    const { database } = this;
    if (this.#lost) return resultCode.leadershipLost;
    if (!database.store.leading) return resultCode.notLeader;
    if (database.writer !== undefined) return resultCode.busy;
    const snapshot = this.#snapshot;
    assert(snapshot !== undefined, 'SHARED is taken before RESERVED');
    // By identity: the same version after a drop has another change counter.
    if (snapshot !== database.head) return resultCode.busySnapshot;
    this.#transaction = new WriteTransaction(database, snapshot);
    database.writer = this.#transaction;
    return resultCode.ok;
  }

  #endTransaction(): void {
    const transaction = this.#transaction;
    assert(transaction !== undefined, 'RESERVED holds a write transaction');
    this.#transaction = undefined;
    this.database.writer = undefined;
    if (transaction.doomed) this.#failed = true;
    const wrotePages = transaction.changedPages > 0;
    const captured = transaction.end();
    if (captured === undefined) return;
    this.captured.push(captured);
    // The pager's cache holds what it wrote. A deletion wrote nothing: open cursors stay on the old snapshot.
    if (wrotePages) {
      this.#unpin();
      this.#pin(this.database.head);
    }
  }

  #pin(snapshot: Snapshot): void {
    this.database.pin(snapshot);
    this.#snapshot = snapshot;
    if (snapshot.version > this.newestRead) this.newestRead = snapshot.version;
  }

  #unpin(): void {
    const snapshot = this.#snapshot;
    assert(snapshot !== undefined, 'SHARED holds a snapshot');
    this.#snapshot = undefined;
    this.#failed = false;
    this.database.unpin(snapshot);
  }
}
