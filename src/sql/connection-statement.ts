import { assert } from '../base/assert.ts';
import { type PackedRows, RowShape } from '../protocol/row-writer.ts';
import type { Writer } from '../protocol/words.ts';
import { cStringLength } from '../vfs/linear-memory.ts';
import { resultCode } from '../vfs/sqlite-codes.ts';
import type { SqliteConnection } from './connection.ts';
import { outOfMemory, outOfRange } from './connection-errors.ts';
import type { PresentedRow } from './connection-pragmas.ts';
import { type Statement, type StorageClass, storageClass } from './engine.ts';
import { limitReached } from './engines/row-module.ts';

const nothing = new Uint8Array(0);

/** SQLITE_TRANSIENT: SQLite copies what is bound. */
const transient = -1;

/** SQLITE_STMTSTATUS_REPREPARE: how often SQLite compiled the statement again, since its schema had changed. */
const statusReprepare = 5;

/** One `sqlite3_stmt *`. */
export class SqliteStatement implements Statement {
  readonly readOnly: boolean;
  readonly parameterCount: number;
  connectionBound: boolean;
  readonly analyzes: boolean;
  readonly #connection: SqliteConnection;
  /** 0 once finalized. */
  #pointer: number;
  #shape: RowShape | undefined;
  /** How often it had been compiled again when the shape was read. */
  #shapeOf = 0;

  constructor(connection: SqliteConnection, pointer: number) {
    this.#connection = connection;
    this.#pointer = pointer;
    const { api } = connection.core.build;
    this.readOnly = api.sqlite3_stmt_readonly(pointer) !== 0;
    this.parameterCount = api.sqlite3_bind_parameter_count(pointer);
    this.connectionBound = connection.uses.bound;
    this.analyzes = connection.uses.analyzes;
    connection.statements.add(this);
  }

  get sql(): Uint8Array {
    return this.#bytesAt(this.#api.sqlite3_sql(this.#live) >>> 0);
  }

  get columnCount(): number {
    return this.#api.sqlite3_column_count(this.#live);
  }

  bindInteger(index: number, value: bigint): void {
    this.#bound(this.#connection.core.build.bindInteger(this.#live, index, value));
  }

  bindFloat(index: number, value: number): void {
    this.#bound(this.#api.sqlite3_bind_double(this.#live, index, value));
  }

  bindText(index: number, value: Uint8Array): void {
    const { text } = this.#connection.core;
    const pointer = text.place(value, 0);
    if (pointer === 0) throw outOfMemory();
    const { length } = value;
    this.#bound(this.#api.sqlite3_bind_text(this.#live, index, pointer, length, transient));
  }

  bindBlob(index: number, value: Uint8Array): void {
    const { text } = this.#connection.core;
    const pointer = text.place(value, 0);
    if (pointer === 0) throw outOfMemory();
    const { length } = value;
    this.#bound(this.#api.sqlite3_bind_blob(this.#live, index, pointer, length, transient));
  }

  bindNull(index: number): void {
    this.#bound(this.#api.sqlite3_bind_null(this.#live, index));
  }

  clearBindings(): void {
    this.#api.sqlite3_clear_bindings(this.#live);
  }

  step(): boolean {
    this.#willStep();
    const code = this.#connection.core.step(this.#live);
    // SQLite may have compiled it again, with another view behind the same name.
    if (this.#connection.uses.bound) this.connectionBound = true;
    return this.#onRow(code);
  }

  reset(): void {
    if (this.#pointer !== 0) this.#connection.core.reset(this.#pointer);
  }

  finalize(): void {
    if (this.#pointer === 0) return;
    const pointer = this.#pointer;
    this.#pointer = 0;
    this.#connection.statements.delete(this);
    this.#connection.core.finalize(pointer);
  }

  columnName(column: number): Uint8Array {
    return this.#bytesAt(this.#api.sqlite3_column_name(this.#live, column) >>> 0);
  }

  columnDeclaredType(column: number): string | undefined {
    const { build } = this.#connection.core;
    const pointer = build.columnDeclaredType(this.#live, column) >>> 0;
    if (pointer === 0) return undefined;
    const { bytes } = build.memory;
    const length = cStringLength(bytes, pointer);
    return Buffer.from(bytes.buffer, pointer, length).toString();
  }

  get shape(): RowShape {
    const compiled = this.#api.sqlite3_stmt_status(this.#live, statusReprepare, 0);
    if (this.#shape === undefined || compiled !== this.#shapeOf) {
      this.#shape = new RowShape(this);
      this.#shapeOf = compiled;
    }
    return this.#shape;
  }

  packRows(shape: RowShape, onRow: boolean, limitBytes: number, to: Writer): PackedRows {
    const { core } = this.#connection;
    const { packer } = core;
    if (packer?.fits(shape) !== true) return valueByValue(this, onRow);
    this.#willStep();
    const code = core.packRows(packer, this.#live, shape, onRow, limitBytes);
    const end = code === limitReached ? 'limit' : this.#onRow(code) ? 'row' : 'done';
    return { rowCount: packer.appendTo(to), end };
  }

  columnType(column: number): StorageClass {
    return this.#api.sqlite3_column_type(this.#live, column) as StorageClass;
  }

  columnInteger(column: number): bigint {
    return this.#connection.core.build.columnInteger(this.#live, column);
  }

  columnFloat(column: number): number {
    return this.#api.sqlite3_column_double(this.#live, column);
  }

  columnBytes(column: number): Uint8Array {
    const api = this.#api;
    const isText = api.sqlite3_column_type(this.#live, column) === storageClass.text;
    // The text function converts what a UTF-16 database holds. Only after it, the length is right.
    const read = isText ? api.sqlite3_column_text : api.sqlite3_column_blob;
    const pointer = read(this.#live, column) >>> 0;
    const length = api.sqlite3_column_bytes(this.#live, column);
    if (pointer === 0) {
      if (length > 0) throw outOfMemory();
      return nothing;
    }
    return this.#connection.core.build.memory.bytes.subarray(pointer, pointer + length);
  }

  /** A copy of a C string; nothing for NULL. */
  #bytesAt(pointer: number): Uint8Array {
    if (pointer === 0) return nothing;
    const { bytes } = this.#connection.core.build.memory;
    return bytes.slice(pointer, pointer + cStringLength(bytes, pointer));
  }

  get #api() {
    return this.#connection.core.build.api;
  }

  get #live(): number {
    assert(this.#pointer !== 0, 'a finalized statement is not used');
    return this.#pointer;
  }

  /** Before the first step of a transaction: what it will see. */
  #willStep(): void {
    const connection = this.#connection;
    const { file } = connection;
    if (!file.idle) return;
    connection.refreshSchema();
    connection.uses.begin();
    file.startsOnHead = !this.readOnly || !connection.autocommit;
  }

  #onRow(code: number): boolean {
    if (code === resultCode.row) return true;
    if (code === resultCode.done) return false;
    throw this.#connection.failure();
  }

  #bound(code: number): void {
    if (code !== resultCode.ok) throw this.#connection.failure();
  }
}

/** A statement with the answer already in it: at most one row of one value. */
export class ConstantStatement implements Statement {
  #shape: RowShape | undefined;
  readonly sql = nothing;
  readonly parameterCount = 0;
  readonly readOnly = true;
  readonly connectionBound = true;
  readonly analyzes = false;
  readonly #row: PresentedRow | undefined;
  #stepped = false;

  constructor(row: PresentedRow | undefined) {
    this.#row = row;
  }

  get columnCount(): number {
    return this.#row === undefined ? 0 : 1;
  }

  bindInteger(): void {
    throw outOfRange();
  }

  bindFloat(): void {
    throw outOfRange();
  }

  bindText(): void {
    throw outOfRange();
  }

  bindBlob(): void {
    throw outOfRange();
  }

  bindNull(): void {
    throw outOfRange();
  }

  clearBindings(): void {}

  step(): boolean {
    const hasRow = this.#row !== undefined && !this.#stepped;
    this.#stepped = hasRow;
    return hasRow;
  }

  reset(): void {
    this.#stepped = false;
  }

  finalize(): void {}

  columnName(): Uint8Array {
    return Buffer.from(this.#row?.name ?? '');
  }

  columnDeclaredType(): undefined {
    return undefined;
  }

  get shape(): RowShape {
    this.#shape ??= new RowShape(this);
    return this.#shape;
  }

  packRows(_shape: RowShape, onRow: boolean): PackedRows {
    return valueByValue(this, onRow);
  }

  columnType(): StorageClass {
    return typeof this.#row?.value === 'number' ? storageClass.integer : storageClass.text;
  }

  columnInteger(): bigint {
    return BigInt(this.#row?.value ?? 0);
  }

  columnFloat(): number {
    return Number(this.#row?.value ?? 0);
  }

  columnBytes(): Uint8Array {
    return Buffer.from(String(this.#row?.value ?? ''));
  }
}

/** The next row, if there is one, has to be asked for. */
function valueByValue(statement: Statement, onRow: boolean): PackedRows {
  return { rowCount: 0, end: onRow || statement.step() ? 'row' : 'done' };
}
