import { errorOfSignal, pause } from '../client/deadline.ts';
import { ClientError } from '../client/errors.ts';
import { connectToLeader, ServerList } from '../client/leader.ts';
import { Session } from '../client/session.ts';
import type { RowPrinter } from './row-printers.ts';
import { isOpenAfter, mayYieldRows } from './sql-text.ts';

/** What a statement did. */
export interface Outcome {
  readonly rows: number;
  /** Undefined for statements that yield rows. */
  readonly rowsAffected: bigint | undefined;
}

const RETRY_PAUSE_MS = 100;

/**
 * Runs one statement after the other on the leader of a cluster. Outside of transactions a statement that
 * found no leader is sent to the next one; inside the error ends the transaction.
 */
export class SqlRunner {
  readonly #servers: ServerList;
  readonly #database: string;
  #session: Session | undefined;
  #inTransaction = false;

  constructor(servers: readonly string[], database: string) {
    this.#servers = new ServerList(servers);
    this.#database = database;
  }

  get inTransaction(): boolean {
    return this.#inTransaction;
  }

  /** Address of the leader in use. */
  get leader(): string | undefined {
    return this.#session?.connection.address;
  }

  /** Resolves once a leader has opened the database. */
  async connect(signal: AbortSignal | undefined): Promise<Session> {
    if (this.#session?.usable === true) return this.#session;
    this.#inTransaction = false;
    const connection = await connectToLeader(this.#servers, signal);
    try {
      this.#session = await Session.open(connection, this.#database, signal);
    } catch (error) {
      connection.close();
      throw error;
    }
    return this.#session;
  }

  /** Runs one statement and prints its rows. */
  async run(sql: string, printer: RowPrinter, signal?: AbortSignal): Promise<Outcome> {
    for (;;) {
      const wasOpen = this.#inTransaction;
      try {
        const session = await this.connect(signal);
        const outcome = await this.#runOn(session, sql, printer, signal);
        this.#inTransaction = isOpenAfter(sql, wasOpen);
        return outcome;
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        if (error.code === 'notLeader' || error.code === 'leadershipLost') this.close();
        if (this.#session?.usable !== true) this.#inTransaction = false;
        if (wasOpen || error.code !== 'notLeader') throw error;
        if (signal?.aborted) throw errorOfSignal(signal);
      }
      await pause(RETRY_PAUSE_MS, signal);
    }
  }

  close(): void {
    this.#session?.close();
    this.#session = undefined;
    this.#inTransaction = false;
  }

  async #runOn(
    session: Session,
    sql: string,
    printer: RowPrinter,
    signal: AbortSignal | undefined,
  ): Promise<Outcome> {
    if (!mayYieldRows(sql)) {
      const { rowsAffected } = await session.exec(sql, [], signal);
      return { rows: 0, rowsAffected };
    }
    let rows = 0;
    let begun = false;
    for await (const batch of session.query(sql, [], signal)) {
      if (!begun) await printer.begin(batch.columns);
      begun = true;
      for (const row of batch.rows) await printer.row(row);
      rows += batch.rows.length;
    }
    await printer.end();
    return { rows, rowsAffected: undefined };
  }
}
