import { type CallOptions, pause, signalOf } from './deadline.ts';
import { ClientError } from './errors.ts';
import { ServerList } from './leader.ts';
import { Rows } from './rows.ts';
import type { RowBatch, Session } from './session.ts';
import { SessionPool } from './session-pool.ts';
import { type Result, resultOf, Transaction } from './transaction.ts';
import { type Integers, type Parameter, toWire } from './values.ts';

/** Where to connect, and defaults for every call. */
export interface ConnectOptions {
  /** Addresses of some servers of the cluster: `host:port` or `@name`. The others are found through them. */
  readonly servers: readonly string[];
  /** Created by the first write when the cluster has none of this name. */
  readonly database: string;
  /** Default `mixed`. */
  readonly integers?: Integers;
  /** Deadline of each call that names none. Default 30 s. */
  readonly timeoutMs?: number;
  /** Connections at once; calls beyond wait for their turn. Default 4. */
  readonly connections?: number;
}

/** A transaction starts with BEGIN IMMEDIATE, so that it waits for its turn first, unless it only reads. */
export interface TransactionOptions extends CallOptions {
  readonly mode?: 'immediate' | 'deferred';
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_CONNECTIONS = 4;
const RETRY_PAUSE_MS = 50;

/** Finds the leader and opens the database. */
export async function connect(options: ConnectOptions): Promise<Database> {
  const database = new Database(options);
  try {
    await database.check();
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * A database of a cluster, wherever its leader is. Calls may run at the same time; each takes a connection of
 * its own. A request that was certainly not executed because its server does not lead is repeated on
 * the next leader until the deadline; what may have been executed is never repeated.
 */
export class Database {
  readonly #pool: SessionPool;
  readonly #integers: Integers;
  readonly #timeoutMs: number;

  constructor(options: ConnectOptions) {
    const servers = new ServerList(options.servers);
    this.#pool = new SessionPool(
      servers,
      options.database,
      options.connections ?? DEFAULT_CONNECTIONS,
    );
    this.#integers = options.integers ?? 'mixed';
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** Resolves once a leader has opened the database. */
  async check(options: CallOptions = {}): Promise<void> {
    const session = await this.#pool.acquire(this.#signal(options));
    this.#pool.release(session);
  }

  /** Runs one or more statements that yield no rows. Each `?` takes the next parameter. */
  exec(
    sql: string,
    parameters: readonly Parameter[] = [],
    options: CallOptions = {},
  ): Promise<Result> {
    const values = parameters.map(toWire);
    // Of several statements the first may have been executed when a later one finds the leader gone.
    const isSingle = !/;\s*\S/.test(sql);
    return this.#withSession(
      options,
      async (session, signal) => resultOf(await session.exec(sql, values, signal), this.#integers),
      isSingle,
    );
  }

  /** Runs one statement that yields rows, when they are first asked for. */
  query(sql: string, parameters: readonly Parameter[] = [], options: CallOptions = {}): Rows {
    const values = parameters.map(toWire);
    const run = () =>
      this.#stream(options, (session, signal) => session.query(sql, values, signal));
    return new Rows(run, this.#integers);
  }

  /** A statement that each connection compiles only once. */
  prepare(sql: string): Statement {
    return {
      exec: (parameters = [], options = {}) =>
        this.#withSession(options, async (session, signal) => {
          const values = parameters.map(toWire);
          return resultOf(await session.execPrepared(sql, values, signal), this.#integers);
        }),
      query: (parameters = [], options = {}) => {
        const values = parameters.map(toWire);
        const run = () =>
          this.#stream(options, (session, signal) => session.queryPrepared(sql, values, signal));
        return new Rows(run, this.#integers);
      },
    };
  }

  /**
   * Runs `run` in a transaction: committed when it resolves, rolled back when it throws. When leadership moves
   * before COMMIT was sent nothing was executed, and `run` is called again: keep its other effects repeatable.
   */
  async transaction<T>(
    run: (transaction: Transaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const begin = options.mode === 'deferred' ? 'BEGIN' : 'BEGIN IMMEDIATE';
    return this.#withSession(options, async (session, signal) => {
      await session.exec(begin, [], signal);
      const transaction = new Transaction(session, this.#integers, signal);
      let result: T;
      try {
        result = await run(transaction);
      } catch (error) {
        if (session.usable) await session.exec('ROLLBACK', []).catch(() => session.close());
        throw error === transaction.failure ? beforeCommit(error) : error;
      } finally {
        transaction.end();
      }
      await session.exec('COMMIT', [], signal).catch((error: unknown) => {
        // Whatever is still open is rolled back with its connection.
        session.close();
        throw error;
      });
      return result;
    });
  }

  /** Ends all calls that are under way. */
  close(): void {
    this.#pool.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #withSession<T>(
    options: CallOptions,
    use: (session: Session, signal: AbortSignal | undefined) => Promise<T>,
    mayRepeat = true,
  ): Promise<T> {
    const signal = this.#signal(options);
    for (let attempt = 1; ; attempt++) {
      const session = await this.#pool.acquire(signal);
      let failure: unknown;
      try {
        return await use(session, signal);
      } catch (error) {
        failure = error;
      } finally {
        this.#pool.release(session, isLeaderGone(failure));
      }
      if (!mayRepeat || !isRepeatable(failure)) throw failure;
      await pauseAfter(attempt, failure, signal);
    }
  }

  /** Rows that were handed out cannot be taken back: only the first batch may be asked for again. */
  async *#stream(
    options: CallOptions,
    query: (session: Session, signal: AbortSignal | undefined) => AsyncGenerator<RowBatch>,
  ): AsyncGenerator<RowBatch> {
    const signal = this.#signal(options);
    for (let attempt = 1; ; attempt++) {
      const session = await this.#pool.acquire(signal);
      let failure: unknown;
      let begun = false;
      try {
        for await (const batch of query(session, signal)) {
          begun = true;
          yield batch;
        }
        return;
      } catch (error) {
        failure = error;
      } finally {
        this.#pool.release(session, isLeaderGone(failure));
      }
      if (begun || !isRepeatable(failure)) throw failure;
      await pauseAfter(attempt, failure, signal);
    }
  }

  #signal(options: CallOptions): AbortSignal | undefined {
    return signalOf({ timeoutMs: options.timeoutMs ?? this.#timeoutMs, signal: options.signal });
  }
}

/** A compiled statement of a database, on whatever connection it runs. */
export interface Statement {
  exec(parameters?: readonly Parameter[], options?: CallOptions): Promise<Result>;
  query(parameters?: readonly Parameter[], options?: CallOptions): Rows;
}

/** An open transaction that lost its leader or its connection was rolled back: it may be run again. */
function beforeCommit(error: unknown): unknown {
  if (!(error instanceof ClientError)) return error;
  const lost = error.code === 'leadershipLost' || error.code === 'connection';
  return lost ? new ClientError('notLeader', error.message, { cause: error }) : error;
}

function isLeaderGone(error: unknown): boolean {
  return error instanceof ClientError && ['notLeader', 'leadershipLost'].includes(error.code);
}

/** `busy` is not repeated: the server has queued the request for as long as its operator allows. */
function isRepeatable(error: unknown): boolean {
  return error instanceof ClientError && error.retryable && error.code !== 'busy';
}

/**
 * Whoever hears for the first time that its server leads no more looks for the next leader at once: it waits there.
 * When there is no time for another attempt the failure of the last one is the better story.
 */
async function pauseAfter(
  attempt: number,
  failure: unknown,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (attempt === 1) return;
  await pause(RETRY_PAUSE_MS, signal).catch(() => {
    throw failure;
  });
}
