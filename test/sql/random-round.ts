import { assert } from '../../src/base/assert.ts';
import { DqliteError } from '../../src/base/errors.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import type { SpeculativeTransaction } from '../../src/vfs/database.ts';
import {
  Bench,
  type EngineMaker,
  imageOf,
  type TestConnection,
} from '../conformance/engine-bench.ts';

/** What must be in the database: rows of `t`, and the one value in `x` when that table exists. */
interface Model {
  readonly rows: Map<number, string>;
  extra: number | undefined;
}

interface Session {
  readonly connection: TestConnection;
  /** The open explicit transaction: what it must see, and whether it has the writer lock. */
  transaction: { model: Model; writes: boolean } | undefined;
}

interface Server {
  readonly bench: Bench;
  readonly sessions: Session[];
}

const sessionsPerServer = 8;
const keys = 400;

/** What happened in a round, so that one can see that everything did. */
export interface Tally {
  committed: number;
  dropped: number;
  losses: number;
  swaps: number;
  busy: number;
  stale: number;
}

/**
 * Two servers, the leader with eight sessions and a follower that gets what the leader committed. Random statements
 * and transactions, spills, VACUUM and schema changes; commits come late; leadership is lost in between and may go
 * to the other server. Every read is compared with a model.
 */
export class RandomRound {
  readonly tally: Tally = { committed: 0, dropped: 0, losses: 0, swaps: 0, busy: 0, stale: 0 };
  readonly #random: Random;
  #leader: Server;
  #follower: Server;
  #committed: Model = { rows: new Map(), extra: undefined };
  /** The model after each speculative transaction, oldest first. */
  #speculative: Model[] = [];

  constructor(make: EngineMaker, seed: number) {
    this.#random = seededRandom(seed);
    this.#leader = this.#server(make);
    this.#follower = this.#server(make);
    this.#follower.bench.store.leading = false;
    const [first] = this.#leader.sessions;
    first?.connection.run('CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)');
    first?.connection.run('CREATE INDEX tb ON t(b)');
    this.#speculative = [this.#committed, this.#committed];
    while (this.#speculative.length > 0) this.#commitOldest();
  }

  run(operations: number): void {
    for (let i = 0; i < operations; i++) this.#operation();
    while (this.#speculative.length > 0) this.#commitOldest();
    for (const session of this.#leader.sessions) this.#rollBack(session);
    for (const { bench, sessions } of [this.#leader, this.#follower]) {
      for (const { connection } of sessions) this.#check(connection, this.#committed);
      assert(sessions[0]?.connection.value('PRAGMA integrity_check') === 'ok', 'integrity');
      assert(bench.tidy, 'no version is left that nobody needs');
    }
    const images = [this.#leader, this.#follower].map(({ bench }) => imageOf(bench.database));
    assert(images[0]?.equals(images[1] ?? Buffer.alloc(0)), 'images are identical');
  }

  #server(make: EngineMaker): Server {
    const bench = new Bench(make);
    const sessions = Array.from({ length: sessionsPerServer }, () => ({
      connection: bench.connect(),
      transaction: undefined,
    }));
    return { bench, sessions };
  }

  get #head(): Model {
    return this.#speculative.at(-1) ?? this.#committed;
  }

  #operation(): void {
    const session = this.#anyOf(this.#leader.sessions);
    const chance = this.#random.int(0, 99);
    try {
      if (chance < 30) this.#write(session);
      else if (chance < 40) this.#begin(session);
      else if (chance < 50) this.#readOwn(session);
      else if (chance < 55) this.#savepoint(session);
      else if (chance < 63) this.#end(session, 'COMMIT');
      else if (chance < 68) this.#end(session, 'ROLLBACK');
      else if (chance < 80) this.#readCommitted(session);
      else if (chance < 86) this.#readFollower();
      else if (chance < 96) this.#commitSome();
      else if (chance < 97) this.#changeWithoutRows('VACUUM');
      else if (chance < 99) this.#changeSchema();
      else this.#loseLeadership();
    } catch (error) {
      this.#expectBusy(session, error);
    }
  }

  #write(session: Session): void {
    const { connection, transaction } = session;
    if (transaction !== undefined) {
      this.#mutate(connection, transaction.model);
      transaction.writes = true;
      return;
    }
    const model = copyOf(this.#head);
    this.#mutate(connection, model);
    if (this.#captured()) this.#speculative.push(model);
    else this.#check(connection, this.#committed);
  }

  #begin(session: Session): void {
    const { connection, transaction } = session;
    if (transaction !== undefined) return;
    const immediate = this.#random.int(0, 1) === 1;
    connection.run(immediate ? 'BEGIN IMMEDIATE' : 'BEGIN');
    session.transaction = { model: copyOf(this.#head), writes: immediate };
    // A deferred transaction has its snapshot from its first read on.
    this.#check(connection, session.transaction.model);
  }

  #readOwn({ connection, transaction }: Session): void {
    if (transaction !== undefined) this.#check(connection, transaction.model);
  }

  #savepoint({ connection, transaction }: Session): void {
    if (transaction?.writes !== true) return;
    connection.run('SAVEPOINT s');
    const inner = copyOf(transaction.model);
    this.#mutate(connection, inner);
    if (this.#random.int(0, 1) === 0) {
      connection.run('ROLLBACK TO s; RELEASE s');
      return;
    }
    connection.run('RELEASE s');
    transaction.model = inner;
  }

  #end(session: Session, how: 'COMMIT' | 'ROLLBACK'): void {
    const { connection, transaction } = session;
    if (transaction === undefined) return;
    connection.run(how);
    session.transaction = undefined;
    if (this.#captured()) this.#speculative.push(transaction.model);
  }

  #readCommitted({ connection, transaction }: Session): void {
    if (transaction === undefined) this.#check(connection, this.#committed);
  }

  #readFollower(): void {
    this.#check(this.#anyOf(this.#follower.sessions).connection, this.#committed);
  }

  #commitSome(): void {
    const count = this.#random.int(1, 4);
    for (let i = 0; i < count && this.#speculative.length > 0; i++) this.#commitOldest();
  }

  #changeWithoutRows(sql: string): void {
    const { database } = this.#leader.bench;
    const session = this.#leader.sessions.find(({ transaction }) => transaction === undefined);
    if (session === undefined || database.writing) return;
    session.connection.run(sql);
    if (this.#captured()) this.#speculative.push(copyOf(this.#head));
  }

  #changeSchema(): void {
    const { database } = this.#leader.bench;
    const session = this.#leader.sessions.find(({ transaction }) => transaction === undefined);
    if (session === undefined || database.writing) return;
    const model = copyOf(this.#head);
    const value = this.#random.int(1, 1_000_000);
    session.connection.run(
      `BEGIN IMMEDIATE; DROP TABLE IF EXISTS x; CREATE TABLE x AS SELECT ${value} AS n; COMMIT`,
    );
    model.extra = value;
    if (this.#captured()) this.#speculative.push(model);
  }

  #loseLeadership(): void {
    const { bench, sessions } = this.#leader;
    this.tally.losses++;
    this.tally.dropped += this.#speculative.length;
    bench.database.dropSpeculative();
    this.#speculative = [];
    for (const session of sessions) this.#rollBack(session);
    assert(!bench.database.writing, 'no writer is left');
    if (this.#random.int(0, 1) === 0) return;
    this.tally.swaps++;
    [this.#leader, this.#follower] = [this.#follower, this.#leader];
    this.#leader.bench.store.leading = true;
    this.#follower.bench.store.leading = false;
  }

  /** The server captured one transaction more than the model knows. */
  #captured(): boolean {
    const extra = this.#leader.bench.database.speculativeCount - this.#speculative.length;
    assert(extra === 0 || extra === 1, 'one transaction at a time');
    return extra === 1;
  }

  #commitOldest(): void {
    const { database } = this.#leader.bench;
    const transaction: SpeculativeTransaction = database.commitOldest();
    const follower = this.#follower.bench.database;
    follower.applyRemote(transaction.pages);
    assert(follower.committedPageCount === transaction.pageCount, 'sizes follow from the pages');
    const model = this.#speculative.shift();
    assert(model !== undefined, 'every transaction has a model');
    this.#committed = model;
    this.tally.committed++;
  }

  #rollBack(session: Session): void {
    if (session.transaction === undefined) return;
    session.transaction = undefined;
    try {
      session.connection.run('ROLLBACK');
    } catch (error) {
      // A doomed transaction may be rolled back already, or fail once more while it is.
      if (!(error instanceof DqliteError)) throw error;
    }
  }

  #expectBusy(session: Session, error: unknown): void {
    if (!(error instanceof DqliteError) || (error.wire & 0xff) !== 5) throw error;
    if (error.wire === 517) this.tally.stale++;
    else this.tally.busy++;
    // BEGIN IMMEDIATE, or a read that could not become a write.
    this.#rollBack(session);
  }

  #mutate(connection: TestConnection, { rows }: Model): void {
    const key = this.#random.int(0, keys - 1);
    const length = this.#random.int(0, 19) === 0 ? 3000 : this.#random.int(0, 60);
    const value = `v${this.#random.int(0, 1_000_000_000)}${'x'.repeat(length)}`;
    switch (this.#random.int(0, 5)) {
      case 0:
        connection.run('DELETE FROM t WHERE a BETWEEN ?1 AND ?1 + 10', [BigInt(key)]);
        for (let i = key; i <= key + 10; i++) rows.delete(i);
        break;
      case 1:
        connection.run("UPDATE t SET b = b || 'u' WHERE a BETWEEN ?1 AND ?1 + 20", [BigInt(key)]);
        for (let i = key; i <= key + 20; i++) {
          const before = rows.get(i);
          if (before !== undefined) rows.set(i, `${before}u`);
        }
        break;
      case 2:
        connection.run(
          'WITH RECURSIVE q(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM q WHERE i < ?1 + 30) ' +
            "INSERT OR IGNORE INTO t SELECT i, 'r' || i || hex(zeroblob(30)) FROM q",
          [BigInt(key)],
        );
        for (let i = key; i <= key + 30; i++) {
          if (!rows.has(i)) rows.set(i, `r${i}${'0'.repeat(60)}`);
        }
        break;
      default:
        connection.run('INSERT OR REPLACE INTO t VALUES(?, ?)', [BigInt(key), value]);
        rows.set(key, value);
    }
  }

  #check(connection: TestConnection, { rows, extra }: Model): void {
    const found = connection.run('SELECT a, b FROM t');
    assert(found.length === rows.size, `rows: ${found.length}, expected ${rows.size}`);
    for (const [a, b] of found) assert(rows.get(Number(a)) === b, `row ${a} is another one`);
    const tables = connection.run("SELECT name FROM sqlite_schema WHERE name = 'x'");
    assert((tables.length === 1) === (extra !== undefined), 'the schema is the right one');
    // Compiled on the head, where the table may be gone or new: only its rows count here.
    if (extra !== undefined) {
      assert(connection.value('SELECT n FROM x') === BigInt(extra), 'the table is the right one');
    }
  }

  #anyOf<T>(list: readonly T[]): T {
    const found = list[this.#random.int(0, list.length - 1)];
    assert(found !== undefined, 'the list is not empty');
    return found;
  }
}

function copyOf({ rows, extra }: Model): Model {
  return { rows: new Map(rows), extra };
}
