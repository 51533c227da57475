import { assert } from '../base/assert.ts';
import { pageBytes } from '../protocol/commands.ts';
import type { Database, SpeculativeTransaction } from './database.ts';
import { freezeCounters, stampWalFormat } from './page-one.ts';
import type { Snapshot } from './snapshot.ts';

/** The pages that the holder of the writer lock has changed, until they are published or thrown away. */
export class WriteTransaction {
  /** What the transaction is built on: the head, when it began. */
  readonly base: Snapshot;
  /** Leadership was lost meanwhile: nothing of it may be read, written or published any more. */
  doomed = false;
  /** SQLite's pager has finished its commit. */
  complete = false;
  /** `PRAGMA delete_database` was run in it. */
  deletion = false;
  /** Size of the database as the transaction sees it. */
  pageCount: number;
  readonly #database: Database;
  #pages = new Map<number, Uint8Array>();

  constructor(database: Database, base: Snapshot) {
    this.#database = database;
    this.base = base;
    this.pageCount = base.pageCount;
  }

  /** Pages that it has written. */
  get changedPages(): number {
    return this.#pages.size;
  }

  /** The page as this transaction wrote it. */
  page(number: number): Uint8Array | undefined {
    return this.#pages.get(number);
  }

  /** Copies a page from `source`; false when the limit of pages is reached. */
  write(number: number, source: Uint8Array, pointer: number): boolean {
    let page = this.#pages.get(number);
    if (page === undefined) {
      const { store } = this.#database;
      if (this.#pages.size >= store.limits.transactionPages) return false;
      page = store.slabs.take();
      this.#pages.set(number, page);
    }
    page.set(source.subarray(pointer, pointer + pageBytes));
    if (number === 1) stampWalFormat(page);
    if (number > this.pageCount) this.pageCount = number;
    return true;
  }

  /** Makes the database `pageCount` pages long. */
  truncate(pageCount: number): void {
    this.pageCount = pageCount;
    for (const number of this.#pages.keys()) {
      if (number > pageCount) this.#discard(number);
    }
  }

  /** The captured transaction; undefined when nothing is to be published. Frees what is not used. */
  end(): SpeculativeTransaction | undefined {
    const publishes = this.complete && !this.doomed;
    if (publishes && this.#pages.size > 0) return this.#publish();
    if (publishes && this.deletion) return this.#database.publishDeletion();
    for (const number of this.#pages.keys()) this.#discard(number);
    return undefined;
  }

  #publish(): SpeculativeTransaction {
    const pageOne = this.#pages.get(1);
    assert(pageOne !== undefined, 'a rollback-mode transaction writes page 1');
    const before = this.#database.page(1, this.base);
    if (before !== undefined) {
      freezeCounters(pageOne, before);
      const resized = this.pageCount !== this.base.pageCount;
      if (this.#pages.size > 1 && !resized && Buffer.compare(pageOne, before) === 0) {
        this.#discard(1);
      }
    }
    const pages = this.#pages;
    this.#pages = new Map();
    return this.#database.publish(pages, this.pageCount);
  }

  #discard(number: number): void {
    const page = this.#pages.get(number);
    if (page === undefined) return;
    this.#pages.delete(number);
    this.#database.store.slabs.give(page);
  }
}
