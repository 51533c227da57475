import { nameOfText } from '../protocol/kinds.ts';
import { encodeParameters } from '../protocol/parameters.ts';
import type { Request } from '../protocol/requests.ts';
import type { Response, ResponseOf } from '../protocol/responses.ts';

import type { Value } from '../protocol/values.ts';
import type { Connection } from './connection.ts';
import { ClientError } from './errors.ts';

/** After an interrupt the server gets this long to stop; then the connection is given up. */
const INTERRUPT_GRACE_MS = 5000;
/** Parameters beyond this need the wider count of schema 1. */
const SCHEMA_0_PARAMETERS = 255;
/** Prepared statements kept for each session. */
const PREPARED_STATEMENTS = 64;

/** Some rows of a query; `done` in the last one, which may be without rows. */
export type RowBatch = ResponseOf<'rows'>['batch'];

/**
 * A connection with a database open: runs SQL, one request at a time, on wire values. When a signal ends a
 * request it is interrupted and the session stays usable if the server stops in time.
 */
export class Session {
  readonly connection: Connection;
  /** Ids by SQL text, the most recently used last. */
  readonly #statements = new Map<string, number>();
  #busy = false;

  /** Opens `database`; creates it when the cluster has none of this name. */
  static async open(
    connection: Connection,
    database: string,
    signal?: AbortSignal,
  ): Promise<Session> {
    const filename = nameOfText(database);
    await connection.ask({ kind: 'open', filename, flags: 0n, vfs: '' }, 'database', signal);
    return new Session(connection);
  }

  private constructor(connection: Connection) {
    this.connection = connection;
  }

  /** False when nothing more can be asked here. */
  get usable(): boolean {
    return !this.connection.closed;
  }

  /** Runs all statements of `sql`; none may yield rows. */
  exec(sql: string, values: readonly Value[], signal?: AbortSignal): Promise<ResponseOf<'result'>> {
    return this.#single(sqlRequest('execSql', sql, values), 'result', signal);
  }

  /** Runs the only statement of `sql`. End the iteration early to interrupt it. */
  query(sql: string, values: readonly Value[], signal?: AbortSignal): AsyncGenerator<RowBatch> {
    return this.#rows(sqlRequest('querySql', sql, values), signal);
  }

  /** Like `exec` for one statement, which is compiled once and kept for the next time. */
  async execPrepared(
    sql: string,
    values: readonly Value[],
    signal?: AbortSignal,
  ): Promise<ResponseOf<'result'>> {
    const statement = await this.#prepared(sql, signal);
    return this.#single(preparedRequest('exec', statement, values), 'result', signal);
  }

  /** Like `query` for a statement that is kept for the next time. */
  async *queryPrepared(
    sql: string,
    values: readonly Value[],
    signal?: AbortSignal,
  ): AsyncGenerator<RowBatch> {
    const statement = await this.#prepared(sql, signal);
    yield* this.#rows(preparedRequest('query', statement, values), signal);
  }

  /** Compiles a statement, or finds it; the one that was not used for longest makes room. */
  async #prepared(sql: string, signal?: AbortSignal): Promise<number> {
    let statement = this.#statements.get(sql);
    this.#statements.delete(sql);
    if (statement === undefined) {
      const [oldest] = this.#statements;
      if (oldest !== undefined && this.#statements.size >= PREPARED_STATEMENTS) {
        this.#statements.delete(oldest[0]);
        await this.#single({ kind: 'finalize', database: 0, statement: oldest[1] }, 'empty');
      }
      const text = Buffer.from(sql);
      const request = { kind: 'prepare', schema: 0, database: 0n, sql: text } as const;
      statement = (await this.#single(request, 'statement', signal)).statement;
    }
    this.#statements.set(sql, statement);
    return statement;
  }

  close(): void {
    this.connection.close();
  }

  async #single<K extends Response['kind']>(
    request: Request,
    kind: K,
    signal?: AbortSignal,
  ): Promise<ResponseOf<K>> {
    this.#begin(request);
    try {
      const response = await this.#receive(signal);
      return this.connection.expect(response, kind);
    } finally {
      this.#busy = false;
    }
  }

  async *#rows(request: Request, signal?: AbortSignal): AsyncGenerator<RowBatch> {
    this.#begin(request);
    let done = false;
    try {
      while (!done) {
        // A failure is the last response of its query.
        done = true;
        const response = await this.#receive(signal);
        const { batch } = this.connection.expect(response, 'rows');
        done = batch.done;
        yield batch;
      }
    } finally {
      if (!done && this.usable) await this.#interrupt();
      this.#busy = false;
    }
  }

  #begin(request: Request): void {
    if (this.#busy) {
      throw new ClientError('misuse', 'the rows of the previous query were not read to their end');
    }
    this.connection.send(request);
    this.#busy = true;
  }

  /**
   * The next response. An aborted signal interrupts the statement: what was complete by then still counts,
   * for the outcome of a write must not be thrown away.
   */
  async #receive(signal: AbortSignal | undefined): Promise<Response> {
    try {
      return await this.connection.receive(signal);
    } catch (error) {
      if (!(error instanceof ClientError) || signal?.aborted !== true || !this.usable) throw error;
      const last = await this.#interrupt();
      if (last?.kind === 'result') return last;
      throw error;
    }
  }

  /** Stops the running statement and returns the last response before the answer to the interrupt. */
  async #interrupt(): Promise<Response | undefined> {
    const grace = AbortSignal.timeout(INTERRUPT_GRACE_MS);
    let last: Response | undefined;
    try {
      this.connection.send({ kind: 'interrupt', database: 0n });
      for (;;) {
        const response = await this.connection.receive(grace);
        if (response.kind === 'empty') return last;
        last = response;
      }
    } catch {
      this.connection.close();
      return last;
    }
  }
}

function sqlRequest(kind: 'execSql' | 'querySql', sql: string, values: readonly Value[]): Request {
  const schema = values.length > SCHEMA_0_PARAMETERS ? 1 : 0;
  const parameters = encodeParameters(values);
  return { kind, schema, database: 0n, sql: Buffer.from(sql), parameters };
}

function preparedRequest(
  kind: 'exec' | 'query',
  statement: number,
  values: readonly Value[],
): Request {
  const schema = values.length > SCHEMA_0_PARAMETERS ? 1 : 0;
  const parameters = encodeParameters(values);
  return { kind, schema, database: 0, statement, parameters };
}
