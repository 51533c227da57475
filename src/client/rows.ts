import type { RowBatch } from './session.ts';
import { type ColumnValue, fromWire, type Integers } from './values.ts';

/** One row, by column name. Of columns with the same name the last one wins: see `Rows.values`. */
export type Row = { [column: string]: ColumnValue };

/**
 * The rows of a query, which runs when they are first asked for and only once. Leaving the iteration early
 * interrupts it.
 */
export class Rows implements AsyncIterable<Row> {
  readonly #run: () => AsyncIterable<RowBatch>;
  readonly #integers: Integers;

  constructor(run: () => AsyncIterable<RowBatch>, integers: Integers) {
    this.#run = run;
    this.#integers = integers;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Row> {
    for await (const { columns, rows } of this.#run()) {
      for (const row of rows) {
        const named: Row = {};
        for (const [i, value] of row.entries()) {
          named[columns[i] ?? ''] = fromWire(value, this.#integers);
        }
        yield named;
      }
    }
  }

  /** Rows as arrays, in the order of the columns. */
  async *values(): AsyncGenerator<ColumnValue[]> {
    for await (const { rows } of this.#run()) {
      for (const row of rows) yield row.map((value) => fromWire(value, this.#integers));
    }
  }

  /** All rows, in memory. */
  async all(): Promise<Row[]> {
    const rows: Row[] = [];
    for await (const row of this) rows.push(row);
    return rows;
  }

  /** The first row, or undefined; the others are not fetched. */
  async first(): Promise<Row | undefined> {
    for await (const row of this) return row;
    return undefined;
  }
}
