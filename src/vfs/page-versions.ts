import { assert } from '../base/assert.ts';

/** Content that one page has from one version on. */
export interface PageVersion {
  readonly version: number;
  /** Undefined: from this version on the page lies beyond the end of the database. */
  readonly content: Uint8Array | undefined;
  older: PageVersion | undefined;
}

/** All versions of all pages of a database, newest first. */
export class PageVersions {
  readonly #newest: (PageVersion | undefined)[] = [];

  /** Content of a page at `version`; undefined when nothing was ever written there. */
  at(page: number, version: number): Uint8Array | undefined {
    let found = this.#newest[page];
    while (found !== undefined && found.version > version) found = found.older;
    return found?.content;
  }

  /** Adds the newest version of a page. */
  push(page: number, version: number, content: Uint8Array | undefined): void {
    const older = this.#newest[page];
    assert(older === undefined || older.version < version, 'versions of a page only grow');
    this.#newest[page] = { version, content, older };
  }

  /** Removes the newest version of a page, which must be `version`; returns its content. */
  pop(page: number, version: number): Uint8Array | undefined {
    const newest = this.#newest[page];
    assert(newest?.version === version, 'transactions are dropped newest first');
    this.#newest[page] = newest.older;
    return newest.content;
  }

  /** The entry that `version` added to a page, and that is still there. */
  entry(page: number, version: number): PageVersion | undefined {
    let found = this.#newest[page];
    while (found !== undefined && found.version > version) found = found.older;
    return found?.version === version ? found : undefined;
  }

  /** The entry right above `entry`, which is not the newest of its page. */
  above(page: number, entry: PageVersion): PageVersion {
    let found = this.#newest[page];
    while (found !== undefined && found.older !== entry) found = found.older;
    assert(found !== undefined, 'a superseded version is in the list of its page');
    return found;
  }

  /** Forgets a page that lies beyond the end in its only version. */
  forgetIfGone(page: number): void {
    const newest = this.#newest[page];
    if (newest !== undefined && newest.content === undefined && newest.older === undefined) {
      this.#newest[page] = undefined;
      while (this.#newest.length > 0 && this.#newest.at(-1) === undefined) this.#newest.pop();
    }
  }

  /** Every version there is; for accounting in tests and for closing. */
  *contents(): Iterable<Uint8Array> {
    for (const newest of this.#newest) {
      for (let entry = newest; entry !== undefined; entry = entry.older) {
        if (entry.content !== undefined) yield entry.content;
      }
    }
  }

  clear(): void {
    this.#newest.length = 0;
  }
}
