import { assert } from '../base/assert.ts';
import { pageBytes } from '../protocol/commands.ts';
import { ChangeCounter, type Counter } from './change-counter.ts';
import {
  claimedPageCount,
  deletedDatabasePage,
  emptyDatabasePage,
  schemaCookieOf,
} from './page-one.ts';
import type { PageStore } from './page-store.ts';
import { type PageVersion, PageVersions } from './page-versions.ts';
import { PinnedSnapshots, Snapshot } from './snapshot.ts';
import type { WriteTransaction } from './write-transaction.ts';

/** One page of a transaction. */
export interface CapturedPage {
  /** Counts from 1. */
  readonly number: number;
  /** 4096 bytes, never changed after capture; valid until the version that replaces it is committed. */
  readonly content: Uint8Array;
}

/** One captured transaction: executed here, not yet known to be committed by Raft. */
export interface SpeculativeTransaction {
  readonly database: Database;
  /** Version that the database has with this transaction. Versions of one database only grow. */
  readonly version: number;
  /** Size of the database with this transaction, in pages. */
  readonly pageCount: number;
  /** Each page once, in no particular order. */
  readonly pages: readonly CapturedPage[];
}

/** The committed state at one moment: it stays while others write. It holds memory: release it. */
export interface Image {
  readonly version: number;
  readonly pageCount: number;
  /** Copies page `number` (from 1 on) to `target` at `offset`; zeros where nothing was ever written. */
  copyPage(number: number, target: Uint8Array, offset: number): void;
  /** Ends the pin. May be called more than once. */
  release(): void;
}

/**
 * The pages of one database in versions (MVCC). `committed` is what Raft committed; `head` is that plus the
 * speculative transactions, oldest first; each transaction is pinned to one snapshot and sees it until it ends.
 */
export class Database {
  readonly store: PageStore;
  /** The name of OPEN, one character for each byte. */
  readonly name: string;
  /**
   * Counts the times when a schema that was visible here went away without an increased schema cookie
   * (a dropped transaction, a replaced or deleted database): connections then forget what they know.
   */
  schemaEpoch = 0;
  /** The transaction that holds the writer lock. */
  writer: WriteTransaction | undefined;
  readonly #versions = new PageVersions();
  readonly #pinned = new PinnedSnapshots();
  readonly #counter: Counter;
  #chain: Speculative[] = [];
  #committed: Snapshot;
  #head: Snapshot;
  #nextVersion = 1;
  #closed = false;

  /** `counter` is for the test that shows what happens when numbers are used twice. */
  constructor(store: PageStore, name: string, counter: Counter = new ChangeCounter()) {
    this.store = store;
    this.name = name;
    this.#counter = counter;
    this.#versions.push(1, 0, this.#copied(emptyDatabasePage()));
    this.#committed = new Snapshot(0, 1, this.#counter.next());
    this.#head = this.#committed;
  }

  get committedVersion(): number {
    return this.#committed.version;
  }

  get headVersion(): number {
    return this.#head.version;
  }

  /** Size of what is committed, in pages. A new database has one page. */
  get committedPageCount(): number {
    return this.#committed.pageCount;
  }

  /** Captured transactions that wait for Raft. */
  get speculativeCount(): number {
    return this.#chain.length;
  }

  /** A connection holds the writer lock. */
  get writing(): boolean {
    return this.writer !== undefined;
  }

  /** Snapshots that transactions are pinned to. */
  get pinCount(): number {
    return this.#pinned.size;
  }

  /** Pages held by all versions. Takes time in proportion: for tests and rare reports. */
  countPages(): number {
    let count = 0;
    for (const _ of this.#versions.contents()) count++;
    return count;
  }

  /** What is committed, for plain reads. */
  get committed(): Snapshot {
    return this.#committed;
  }

  /** What the next writer builds on. */
  get head(): Snapshot {
    return this.#head;
  }

  /** The number of the head's schema: another one is another schema. For the same one see `schemaEpoch`. */
  get schemaCookie(): number {
    const pageOne = this.page(1, this.#head);
    return pageOne === undefined ? 0 : schemaCookieOf(pageOne);
  }

  /** Keeps every page of `snapshot` until the matching `unpin`. */
  pin(snapshot: Snapshot): void {
    snapshot.pinCount++;
    if (snapshot.pinCount === 1 && !snapshot.dropped) this.#pinned.add(snapshot);
  }

  unpin(snapshot: Snapshot): void {
    assert(snapshot.pinCount > 0, 'a snapshot is unpinned as often as it was pinned');
    snapshot.pinCount--;
    if (snapshot.pinCount > 0 || snapshot.dropped || this.#closed) return;
    this.#pinned.remove(snapshot);
    const retained = snapshot.retained;
    if (retained.length === 0) return;
    snapshot.retained = [];
    for (const { page, kept } of retained) this.#freeBelow(page, this.#versions.above(page, kept));
  }

  /** Content of a page as `snapshot` shows it; undefined when nothing was ever written there. */
  page(number: number, snapshot: Snapshot): Uint8Array | undefined {
    if (number > snapshot.pageCount) return undefined;
    return this.#versions.at(number, snapshot.version);
  }

  /**
   * A writer's pages become the head. Takes over the memory of `contents`, whose pages all lie within
   * `pageCount`.
   */
  publish(contents: Map<number, Uint8Array>, pageCount: number): SpeculativeTransaction {
    assert(!this.#closed, 'a closed database takes no transactions');
    const snapshot = this.#push(contents, pageCount);
    const pages: CapturedPage[] = [];
    for (const [number, content] of contents) pages.push({ number, content });
    const transaction = { database: this, version: snapshot.version, pageCount, pages };
    this.#chain.push({ snapshot, before: this.#head, transaction });
    this.#head = snapshot;
    return transaction;
  }

  /** A writer deletes everything: the head becomes an empty database. */
  publishDeletion(): SpeculativeTransaction {
    this.schemaEpoch++;
    return this.publish(new Map([[1, this.#copied(deletedDatabasePage())]]), 1);
  }

  /** Raft committed the oldest speculative transaction: it becomes visible to plain reads. */
  commitOldest(): SpeculativeTransaction {
    const oldest = this.#chain.shift();
    assert(oldest !== undefined, 'a transaction is committed after it was captured');
    const { snapshot, transaction } = oldest;
    const before = this.#committed;
    this.#committed = snapshot;
    for (const { number } of transaction.pages) this.#supersede(number, snapshot.version);
    this.#supersedeTruncated(before.pageCount, snapshot);
    return transaction;
  }

  /** Leadership was lost: forgets every speculative transaction and dooms the open writer. */
  dropSpeculative(): void {
    const chain = this.#chain;
    this.#chain = [];
    for (let i = chain.length - 1; i >= 0; i--) {
      const link = chain[i];
      if (link !== undefined) this.#drop(link);
    }
    if (this.writer !== undefined) {
      this.writer.doomed = true;
      // Its pager may already have written the next counter to its own page 1.
      this.#counter.next();
    }
    this.schemaEpoch++;
    this.#restamp();
  }

  /**
   * Pages that another server's leader committed; copied. Nothing speculative may be left. The size after it is
   * the one that page 1 claims, if that is among them, else the one before. Page 1 alone with size 0 is a deleted
   * database.
   */
  applyRemote(pages: readonly CapturedPage[]): void {
    assert(this.#chain.length === 0, 'nothing is speculative while another server leads');
    if (this.writer !== undefined) this.dropSpeculative();
    const pageCount = this.#pageCountAfter(pages);
    const contents = new Map<number, Uint8Array>();
    for (const { number, content } of pages) {
      if (number > pageCount) continue;
      assert(content.length === pageBytes, 'a page is 4096 bytes');
      const page = contents.get(number) ?? this.store.slabs.take();
      page.set(content);
      contents.set(number, page);
    }
    this.publish(contents, pageCount);
    this.commitOldest();
  }

  /** The committed image, for snapshots and dumps. */
  pinCommitted(): Image {
    const snapshot = this.#committed;
    this.pin(snapshot);
    let released = false;
    return {
      version: snapshot.version,
      pageCount: snapshot.pageCount,
      copyPage: (number, target, offset) => {
        assert(!released && !this.#closed, 'an image is read before it is released');
        const content = this.page(number, snapshot);
        if (content === undefined) target.fill(0, offset, offset + pageBytes);
        else target.set(content, offset);
      },
      release: () => {
        if (released) return;
        released = true;
        if (!this.#closed) this.unpin(snapshot);
      },
    };
  }

  /**
   * Replaces everything by an image: pages 1 to n in order, 4096 bytes each, copied. What is speculative is
   * dropped; transactions that are pinned keep what they see.
   */
  restore(image: Iterable<Uint8Array>): void {
    this.dropSpeculative();
    const contents = new Map<number, Uint8Array>();
    let pageCount = 0;
    for (const content of image) {
      assert(content.length === pageBytes, 'a page is 4096 bytes');
      const page = this.store.slabs.take();
      page.set(content);
      contents.set(++pageCount, page);
    }
    assert(pageCount > 0, 'an image has at least one page');
    this.publish(contents, pageCount);
    this.commitOldest();
  }

  /**
   * The database was replaced as a whole: gives all its memory back. Whatever is still pinned to it fails with
   * 10506 from now on.
   */
  close(): void {
    if (this.#closed) return;
    this.dropSpeculative();
    this.#closed = true;
    this.#committed.dropped = true;
    for (const content of this.#versions.contents()) this.store.slabs.give(content);
    this.#versions.clear();
  }

  /** Nothing can be read from it any more. */
  get closed(): boolean {
    return this.#closed;
  }

  #push(contents: Map<number, Uint8Array>, pageCount: number): Snapshot {
    const version = this.#nextVersion++;
    for (const [number, content] of contents) this.#versions.push(number, version, content);
    for (let page = pageCount + 1; page <= this.#head.pageCount; page++) {
      this.#versions.push(page, version, undefined);
    }
    return new Snapshot(version, pageCount, this.#counter.next());
  }

  #drop({ snapshot, before, transaction }: Speculative): void {
    snapshot.dropped = true;
    this.#pinned.remove(snapshot);
    for (const { number } of transaction.pages) this.#popPage(number, snapshot.version);
    for (let page = snapshot.pageCount + 1; page <= before.pageCount; page++) {
      this.#popPage(page, snapshot.version);
    }
  }

  #popPage(number: number, version: number): void {
    const content = this.#versions.pop(number, version);
    if (content !== undefined) this.store.slabs.give(content);
  }

  /** Same content, but no pager's cache may match: some have seen what was dropped. */
  #restamp(): void {
    const { version, pageCount } = this.#committed;
    this.#committed = new Snapshot(version, pageCount, this.#counter.next());
    this.#head = this.#committed;
  }

  #supersedeTruncated(pageCountBefore: number, snapshot: Snapshot): void {
    for (let page = snapshot.pageCount + 1; page <= pageCountBefore; page++) {
      this.#supersede(page, snapshot.version);
    }
  }

  /** `version` of a page is committed: whatever it replaced goes as soon as no pin needs it. */
  #supersede(page: number, version: number): void {
    const newer = this.#versions.entry(page, version);
    assert(newer !== undefined, 'a committed page is there');
    this.#freeBelow(page, newer);
    if (newer.content === undefined) this.#versions.forgetIfGone(page);
  }

  /** Frees the version below `newer`, or lets the newest pin that still sees it do that later. */
  #freeBelow(page: number, newer: PageVersion): void {
    const { older } = newer;
    if (older === undefined) return;
    const reader = this.#pinned.newestBetween(older.version, newer.version);
    if (reader !== undefined) {
      reader.retained.push({ page, kept: older });
      return;
    }
    if (older.content !== undefined) this.store.slabs.give(older.content);
    newer.older = older.older;
    if (newer.content === undefined) this.#versions.forgetIfGone(page);
  }

  #pageCountAfter(pages: readonly CapturedPage[]): number {
    let highest = this.#head.pageCount;
    let pageOne: Uint8Array | undefined;
    for (const { number, content } of pages) {
      if (number === 1) pageOne = content;
      if (number > highest) highest = number;
    }
    if (pageOne === undefined) return highest;
    const claimed = claimedPageCount(pageOne);
    if (claimed > 0) return claimed;
    if (pages.length === 1) this.schemaEpoch++;
    return pages.length === 1 ? 1 : highest;
  }

  #copied(content: Uint8Array): Uint8Array {
    const page = this.store.slabs.take();
    page.set(content);
    return page;
  }
}

interface Speculative {
  readonly snapshot: Snapshot;
  readonly before: Snapshot;
  readonly transaction: SpeculativeTransaction;
}
