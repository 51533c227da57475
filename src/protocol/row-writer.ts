import { assert } from '../base/assert.ts';
import { blob, count64, float64, int64, textBytes } from './kinds.ts';
import { rowHeaderBytes, rowsMarker, rowsType, setRowType } from './rows.ts';
import { endMessage, startMessage } from './table.ts';
import { valueCode } from './values.ts';
import { Writer, wordBytes } from './words.ts';

/** Where the values of a row come from: a statement after `step` returned true. Columns count from 0. */
export interface RowSource {
  readonly columnCount: number;
  columnName(column: number): Uint8Array;
  /** As written in the schema; undefined for expressions. */
  columnDeclaredType(column: number): string | undefined;
  /** Storage class, numbered as in SQLite. */
  columnType(column: number): number;
  columnInteger(column: number): bigint;
  columnFloat(column: number): number;
  /** Text or blob; valid until the next call. */
  columnBytes(column: number): Uint8Array;
}

/** A message that has reached this size, header included, is ended before the next row. */
export const rowBatchBytes = 4096;

/** Storage classes as SQLite numbers them (sqlite3_column_type). */
const storageClass = { integer: 1, float: 2, text: 3, blob: 4, null: 5 } as const;

/** What the declared type of a column changes: how integers, texts and NULLs are marked. */
type Declared = 'plain' | 'date' | 'boolean';

/**
 * Writes the ROWS messages of one query straight from a statement: `begin`, rows, `end`, until the end is 'done'. End
 * a message with 'part' when it is `full` and another row is there; one without rows may only end with 'done', since
 * clients take an empty part for the end.
 */
export class RowWriter {
  readonly #to: Writer;
  readonly #source: RowSource;
  readonly #declared: readonly Declared[];
  readonly #codes: Uint8Array;
  /** Number of columns and their names: every message repeats them. */
  readonly #preamble: Buffer;
  #start: number | undefined;
  #rowCount = 0;

  /** Reads number, names and declared types of the columns; should they change later, rows keep to these. */
  constructor(to: Writer, source: RowSource) {
    const columns = Array.from({ length: source.columnCount }, (_, column) => column);
    const preamble = new Writer(16 * columns.length + wordBytes);
    count64.write(preamble, columns.length, 0);
    for (const column of columns) textBytes.write(preamble, source.columnName(column), 0);
    this.#to = to;
    this.#source = source;
    this.#declared = columns.map((column) => declaredAs(source.columnDeclaredType(column)));
    this.#codes = new Uint8Array(columns.length);
    this.#preamble = preamble.takeBytes();
  }

  /** Rows in the message that is open. */
  get rowCount(): number {
    return this.#rowCount;
  }

  /** The open message holds a row and has reached `rowBatchBytes`. */
  get full(): boolean {
    return this.#rowCount > 0 && this.#to.length - this.#openStart() >= rowBatchBytes;
  }

  /** Opens a message. */
  begin(): void {
    assert(this.#start === undefined, 'one message at a time');
    this.#start = this.#to.length;
    this.#rowCount = 0;
    startMessage(this.#to, rowsType, 0);
    const at = this.#to.take(this.#preamble.length);
    this.#to.bytes.set(this.#preamble, at);
  }

  /** Appends the row that the statement stands on. */
  row(): void {
    const codes = this.#codes;
    const size = rowHeaderBytes(codes.length);
    const headerAt = this.#to.take(size);
    this.#to.bytes.fill(0, headerAt, headerAt + size);
    for (let column = 0; column < codes.length; column++) {
      const code = codeOf(this.#source.columnType(column), this.#declared[column] ?? 'plain');
      codes[column] = code;
      setRowType(this.#to.bytes, headerAt, column, code);
    }
    for (let column = 0; column < codes.length; column++) this.#value(column, codes[column] ?? 0);
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

  #value(column: number, code: number): void {
    const to = this.#to;
    const source = this.#source;
    switch (code) {
      case valueCode.integer:
      case valueCode.unixTime:
      case valueCode.boolean:
        // A NULL marked as boolean reads as 0 here, as SQLite converts it.
        int64.write(to, source.columnInteger(column), 0);
        break;
      case valueCode.float:
        float64.write(to, source.columnFloat(column), 0);
        break;
      case valueCode.blob:
        blob.write(to, source.columnBytes(column), 0);
        break;
      case valueCode.null:
        int64.write(to, 0n, 0);
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
