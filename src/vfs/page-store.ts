import { Database } from './database.ts';
import { PageSlabs } from './page-slabs.ts';

/** Limits on what transactions may grow. */
export interface PageStoreLimits {
  /**
   * Most pages that one transaction may change; more is SQLITE_FULL (13). A transaction travels as one message,
   * and C servers take messages of up to 500 MiB.
   */
  readonly transactionPages: number;
}

/** 480 MiB. */
const defaultLimits: PageStoreLimits = { transactionPages: 122_880 };

/** What the databases of this server share: memory for pages, limits, and the permission to write. */
export class PageStore {
  readonly limits: PageStoreLimits;
  readonly slabs = new PageSlabs();
  /** This server leads: while false, every attempt to write is refused with 10250 ("not leader"). */
  leading = false;

  constructor(limits: Partial<PageStoreLimits> = {}) {
    this.limits = { ...defaultLimits, ...limits };
  }

  /** A new, empty database. `name` has one character for each byte. */
  create(name: string): Database {
    return new Database(this, name);
  }

  /** Pages in use by all versions of all databases and by open transactions. */
  get livePages(): number {
    return this.slabs.livePages;
  }

  /** Memory taken for pages, free ones included. */
  get reservedBytes(): number {
    return this.slabs.reservedBytes;
  }
}
