import type { PageVersion } from './page-versions.ts';

/** One state of a database: what a transaction pinned to it sees. */
export class Snapshot {
  readonly version: number;
  readonly pageCount: number;
  /** Change counter that pagers see on this snapshot. */
  readonly counter: number;
  /** What it shows was dropped, and will never be committed. */
  dropped = false;
  /** Transactions that are pinned to it. */
  pinCount = 0;
  /** Superseded page versions that nothing but this snapshot, or an older one, keeps. */
  retained: RetainedVersion[] = [];

  constructor(version: number, pageCount: number, counter: number) {
    this.version = version;
    this.pageCount = pageCount;
    this.counter = counter;
  }
}

/** A superseded version of a page. */
export interface RetainedVersion {
  readonly page: number;
  readonly kept: PageVersion;
}

/** The pinned snapshots of a database, ordered by version. */
export class PinnedSnapshots {
  readonly #ordered: Snapshot[] = [];

  get size(): number {
    return this.#ordered.length;
  }

  add(snapshot: Snapshot): void {
    const at = this.#lowerBound(snapshot.version + 1);
    if (at === this.#ordered.length) this.#ordered.push(snapshot);
    else this.#ordered.splice(at, 0, snapshot);
  }

  remove(snapshot: Snapshot): void {
    const ordered = this.#ordered;
    if (ordered.at(-1) === snapshot) {
      ordered.pop();
      return;
    }
    const at = ordered.indexOf(snapshot, this.#lowerBound(snapshot.version));
    if (at !== -1) ordered.splice(at, 1);
  }

  /** The newest pinned snapshot with `from <= version < before`. */
  newestBetween(from: number, before: number): Snapshot | undefined {
    const snapshot = this.#ordered[this.#lowerBound(before) - 1];
    return snapshot !== undefined && snapshot.version >= from ? snapshot : undefined;
  }

  /** Index of the first snapshot whose version is at least `version`. */
  #lowerBound(version: number): number {
    const ordered = this.#ordered;
    // Nearly all pins are new: look from the end.
    let at = ordered.length;
    while (at > 0 && (ordered[at - 1]?.version ?? 0) >= version) at--;
    return at;
  }
}
