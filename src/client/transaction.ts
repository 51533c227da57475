import { ClientError } from './errors.ts';
import { Rows } from './rows.ts';
import type { RowBatch, Session } from './session.ts';
import { type Integers, type Parameter, toWire } from './values.ts';

/** What a statement without rows did. */
export interface Result {
  /** Rowid of the last row inserted on this connection; see the documentation of SQLite. */
  readonly lastInsertId: number | bigint;
  readonly rowsAffected: number;
}

/** Statements inside one transaction. Valid until the function that got it has returned. */
export class Transaction {
  readonly #session: Session;
  readonly #integers: Integers;
  readonly #signal: AbortSignal | undefined;
  #ended = false;
  #failure: unknown;

  constructor(session: Session, integers: Integers, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#integers = integers;
    this.#signal = signal;
  }

  /** The last error of a statement, to tell it from errors of the caller's own. */
  get failure(): unknown {
    return this.#failure;
  }

  async exec(sql: string, parameters: readonly Parameter[] = []): Promise<Result> {
    this.#check();
    const values = parameters.map(toWire);
    try {
      return resultOf(await this.#session.exec(sql, values, this.#signal), this.#integers);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** Read the rows to their end, or leave the loop, before the next statement. */
  query(sql: string, parameters: readonly Parameter[] = []): Rows {
    return new Rows(() => this.#run(sql, parameters), this.#integers);
  }

  end(): void {
    this.#ended = true;
  }

  async *#run(sql: string, parameters: readonly Parameter[]): AsyncGenerator<RowBatch> {
    this.#check();
    try {
      yield* this.#session.query(sql, parameters.map(toWire), this.#signal);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  #check(): void {
    if (this.#ended) throw new ClientError('misuse', 'the transaction has ended');
  }
}

/** The counts of a RESULT in the form that callers asked for. */
export function resultOf(
  result: { readonly lastInsertId: bigint; readonly rowsAffected: bigint },
  integers: Integers,
): Result {
  const { lastInsertId, rowsAffected } = result;
  const exact = BigInt(Number(lastInsertId)) === lastInsertId && integers === 'mixed';
  return {
    lastInsertId: exact ? Number(lastInsertId) : lastInsertId,
    rowsAffected: Number(rowsAffected),
  };
}
