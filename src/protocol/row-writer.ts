import { assert } from '../base/assert.ts';
import { blob, count64, textBytes } from './kinds.ts';
import { rowHeaderBytes, rowsMarker, rowsType, setRowType } from './rows.ts';
import { endMessage, startMessage } from './table.ts';
import { valueCode } from './values.ts';
import { Writer, wordBytes } from './words.ts';

/** Where the columns of a result are described. Columns count from 0. */
export interface ColumnSource {
  readonly columnCount: number;
  columnName(column: number): Uint8Array;
  /** As written in the schema; undefined for expressions. */
  columnDeclaredType(column: number): string | undefined;
}

/** What `packRows` has done. */
export interface PackedRows {
  readonly rowCount: number;
  /** 'row': the statement stands on a row that was not appended, and whose values have to be asked for. */
  readonly end: 'limit' | 'row' | 'done';
}

/** Where the values of a row come from: a statement after `step` returned true. Columns count from 0. */
export interface RowSource {
  /** The columns as they are now: the same object while they are the same. */
  readonly shape: RowShape;
  /**
   * Steps and appends whole rows of this shape, the one that the statement stands on (`onRow`) or the next one first, until
   * at least one was appended and they have `limitBytes`.
   */
  packRows(shape: RowShape, onRow: boolean, limitBytes: number, to: Writer): PackedRows;
  /** Storage class, numbered as in SQLite. */
  columnType(column: number): number;
  /** An integer; 0 for NULL. */
  columnInteger(column: number): bigint;
  columnFloat(column: number): number;
  /** Text or blob, nothing for NULL; valid until the next call. */
  columnBytes(column: number): Uint8Array;
}

/** A message that has reached this size, header included, is ended before the next row. */
export const rowBatchBytes = 4096;

/** Storage classes as SQLite numbers them (sqlite3_column_type). */
export const storageClass = { integer: 1, float: 2, text: 3, blob: 4, null: 5 } as const;

/** What the declared type of a column changes: how integers, texts and NULLs are marked. */
type Declared = 'plain' | 'date' | 'boolean';

/** Number, names and declared types of the columns of a result, ready to be written. */
export class RowShape {
  readonly columnCount: number;
  /** Number of columns and their names: every message repeats them. */
  readonly preamble: Buffer;
  /** Type codes (see `valueCode`): that of a value of storage class c in column n at 8n + c. */
  readonly codes: Uint8Array;

  constructor(source: ColumnSource) {
    this.columnCount = source.columnCount;
    const columns = Array.from({ length: source.columnCount }, (_, column) => column);
    const preamble = new Writer(16 * columns.length + wordBytes);
    count64.write(preamble, columns.length, 0);
    for (const column of columns) textBytes.write(preamble, source.columnName(column), 0);
    this.preamble = preamble.takeBytes();
    this.codes = new Uint8Array(8 * columns.length);
    for (const column of columns) {
      const declared = declaredAs(source.columnDeclaredType(column));
      for (const storage of Object.values(storageClass)) {
        this.codes[8 * column + storage] = codeOf(storage, declared);
      }
    }
  }
}

/**
 * Writes the ROWS messages of one query straight from a statement: `begin`, `rows`, `end`, until the end is 'done'. A
 * message without rows may only end with 'done', since clients take an empty part for the end.
 */
export class RowWriter {
  readonly #to: Writer;
  readonly #source: RowSource;
  readonly #shape: RowShape;
  #start: number | undefined;
  #rowCount = 0;

  /** Reads the shape of the columns; should it change later, rows keep to this one. */
  constructor(to: Writer, source: RowSource) {
    this.#to = to;
    this.#source = source;
    this.#shape = source.shape;
  }

  /** Rows in the message that is open. */
  get rowCount(): number {
    return this.#rowCount;
  }

  /** The open message holds a row and has reached `rowBatchBytes`. */
  get #full(): boolean {
    return this.#rowCount > 0 && this.#to.length - this.#openStart() >= rowBatchBytes;
  }

  /** Opens a message. */
  begin(): void {
    assert(this.#start === undefined, 'one message at a time');
    this.#start = this.#to.length;
    this.#rowCount = 0;
    startMessage(this.#to, rowsType, 0);
    const { preamble } = this.#shape;
    const at = this.#to.take(preamble.length);
    this.#to.bytes.set(preamble, at);
  }

  /**
   * Appends rows, the one that the statement stands on (`onRow`) or the next one first, until the message is full ('part')
   * or there are none ('done').
   */
  rows(onRow: boolean): 'part' | 'done' {
    let first = onRow;
    for (;;) {
      const limitBytes = rowBatchBytes - (this.#to.length - this.#openStart());
      const { rowCount, end } = this.#source.packRows(this.#shape, first, limitBytes, this.#to);
      this.#rowCount += rowCount;
      if (end === 'done') return 'done';
      if (end === 'row') this.#row();
      if (this.#full) return 'part';
      first = false;
    }
  }

  /** Appends the row that the statement stands on, value by value. */
  #row(): void {
    const to = this.#to;
    const { columnCount } = this.#shape;
    const size = rowHeaderBytes(columnCount);
    const headerAt = to.take(size);
    to.bytes.fill(0, headerAt, headerAt + size);
    for (let column = 0; column < columnCount; column++) {
      setRowType(to.bytes, headerAt, column, this.#codeOf(column));
    }
    for (let column = 0; column < columnCount; column++) this.#value(column);
    this.#rowCount++;
  }

  /** Closes the message. 'part': more follow without being asked for. */
  end(marker: 'part' | 'done'): void {
    const at = this.#to.take(wordBytes);
    this.#to.bytes.writeBigUInt64LE(rowsMarker[marker], at);
    endMessage(this.#to, this.#openStart());
    this.#start = undefined;
  }

  /** Takes back the open message, so that a failure can be answered in its place. */
  discard(): void {
    this.#to.truncate(this.#openStart());
    this.#start = undefined;
  }

  #openStart(): number {
    assert(this.#start !== undefined, 'no message is open');
    return this.#start;
  }

  #codeOf(column: number): number {
    return this.#shape.codes[8 * column + this.#source.columnType(column)] ?? 0;
  }

  #value(column: number): void {
    const to = this.#to;
    const source = this.#source;
    switch (this.#codeOf(column)) {
      case valueCode.integer:
      case valueCode.unixTime:
      case valueCode.boolean: {
        // A NULL marked as boolean reads as 0, as SQLite converts it.
        const at = to.take(wordBytes);
        to.bytes.writeBigInt64LE(source.columnInteger(column), at);
        break;
      }
      case valueCode.float: {
        const at = to.take(wordBytes);
        to.bytes.writeDoubleLE(source.columnFloat(column), at);
        break;
      }
      case valueCode.null: {
        const at = to.take(wordBytes);
        to.bytes.fill(0, at, at + wordBytes);
        break;
      }
      case valueCode.blob:
        blob.write(to, source.columnBytes(column), 0);
        break;
      default:
        textBytes.write(to, source.columnBytes(column), 0);
    }
  }
}

/** The rule compares the whole declared type, whatever its case: TIMESTAMP(6) and BOOL are plain. */
function declaredAs(declaredType: string | undefined): Declared {
  switch (declaredType?.toLowerCase()) {
    case 'date':
    case 'datetime':
    case 'timestamp':
      return 'date';
    case 'boolean':
      return 'boolean';
    default:
      return 'plain';
  }
}

function codeOf(storage: number, declared: Declared): number {
  switch (storage) {
    case storageClass.integer:
      if (declared === 'date') return valueCode.unixTime;
      return declared === 'boolean' ? valueCode.boolean : valueCode.integer;
    case storageClass.float:
      return valueCode.float;
    case storageClass.text:
      return declared === 'date' ? valueCode.iso8601 : valueCode.text;
    case storageClass.blob:
      return valueCode.blob;
    default:
      if (declared === 'date') return valueCode.iso8601;
      return declared === 'boolean' ? valueCode.boolean : valueCode.null;
  }
}
