import type { MainFile } from '../vfs/main-file.ts';
import { resultCode } from '../vfs/sqlite-codes.ts';
import type { PragmaAnswer } from '../vfs/vfs.ts';

/** A pragma that is answered here, in SQLite's place. */
interface Presented {
  readonly value: number | string;
  /** A client may set it: it is remembered, and has no other effect. */
  readonly settable: boolean;
}

/**
 * Settings that clients see as those of a connection in WAL mode with SQLite's defaults, while SQLite itself runs
 * with others: a rollback journal in memory, a small page cache (a miss costs less than a microsecond, because
 * pages are in memory anyway), temporary files in a bounded space.
 */
export const presentedPragmas: Readonly<Record<string, Presented>> = {
  journal_mode: { value: 'wal', settable: false },
  synchronous: { value: 0, settable: false },
  wal_autocheckpoint: { value: 1000, settable: false },
  cache_size: { value: -2000, settable: true },
  temp_store: { value: 0, settable: true },
  // Builds without UTF-16 do not know the pragma.
  encoding: { value: 'UTF-8', settable: false },
};

/** The row that a presented pragma answers; undefined: it was set, and answers none. */
export interface PresentedRow {
  readonly name: string;
  readonly value: number | string;
}

/** What a connection remembers of presented pragmas. */
export class PresentedPragmas {
  readonly #values = new Map<string, number | string>();
  /** What the statement that is being compiled answers; `row` undefined for a setter. */
  answered: { row: PresentedRow | undefined } | undefined;

  /** SQLite asks, while it compiles `PRAGMA name` or `PRAGMA name = argument`. */
  answer(file: MainFile, name: string, argument: string | undefined): PragmaAnswer | undefined {
    if (name === 'delete_database') return this.#deleteDatabase(file);
    const presented = Object.hasOwn(presentedPragmas, name) ? presentedPragmas[name] : undefined;
    if (presented === undefined) return undefined;
    if (argument !== undefined) {
      if (presented.settable) this.#values.set(name, settingOf(argument));
      this.answered = { row: undefined };
      return { code: resultCode.ok };
    }
    const value = this.#values.get(name) ?? presented.value;
    this.answered = { row: { name, value } };
    return { code: resultCode.ok, text: String(value) };
  }

  /**
   * The database is deleted by the commit, unless the transaction writes something as well: then it is ignored,
   * as dqlite does.
   */
  #deleteDatabase(file: MainFile): PragmaAnswer {
    const { transaction } = file;
    if (transaction === undefined) {
      return refusal(
        'PRAGMA delete_database must be run in a write transaction. Use BEGIN IMMEDIATE to start one.',
      );
    }
    if (transaction.changedPages > 0) {
      return refusal('PRAGMA delete_database must be the only statement run in the transaction.');
    }
    transaction.deletion = true;
    this.answered = { row: undefined };
    return { code: resultCode.ok };
  }
}

/** `PRAGMA temp_store` also takes names. */
const namedSettings: Readonly<Record<string, number>> = { default: 0, file: 1, memory: 2 };

function settingOf(argument: string): number {
  const named = namedSettings[argument.toLowerCase()];
  return named ?? Number.parseInt(argument, 10) | 0;
}

function refusal(text: string): PragmaAnswer {
  return { code: resultCode.error, text };
}
