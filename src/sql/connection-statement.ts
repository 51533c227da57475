import { assert } from '../base/assert.ts';
import { textBytes } from '../protocol/kinds.ts';
import { RowShape } from '../protocol/row-writer.ts';
import type { Writer } from '../protocol/words.ts';
import { cStringLength } from '../vfs/linear-memory.ts';
import { resultCode } from '../vfs/sqlite-codes.ts';
import type { SqliteConnection } from './connection.ts';
import { outOfMemory, outOfRange } from './connection-errors.ts';
import type { PresentedRow } from './connection-pragmas.ts';
import { type Statement, type StorageClass, storageClass } from './engine.ts';
import { utf8Encoding, valueFlag, valueFlagMask, valueLayout } from './engines/value-layout.ts';

const nothing = new Uint8Array(0);

/** SQLITE_TRANSIENT: SQLite copies what is bound. */
const transient = -1;

/** Longest text that is copied in a loop. */
const shortTextBytes = 512;

/** SQLITE_STMTSTATUS_REPREPARE: how often SQLite compiled the statement again, since its schema had changed. */
const statusReprepare = 5;

/** Storage class of a value that is one thing only, by its flags. */
const classOfFlags: readonly (StorageClass | undefined)[] = classesByFlag();

function classesByFlag(): (StorageClass | undefined)[] {
  const classes: (StorageClass | undefined)[] = [];
  for (const [name, flag] of Object.entries(valueFlag)) {
    classes[flag] = storageClass[name as keyof typeof valueFlag];
  }
  return classes;
}

/** One `sqlite3_stmt *`. */
export class SqliteStatement implements Statement {
  readonly readOnly: boolean;
  readonly parameterCount: number;
  readonly #connection: SqliteConnection;
  /** 0 once finalized. */
  #pointer: number;
  #shape: RowShape | undefined;
  /** How often it had been compiled again when the shape was read. */
  #shapeOf = 0;
  /** Where the values of the present row are; 0 until somebody asks. */
  #values = 0;

  constructor(connection: SqliteConnection, pointer: number) {
    this.#connection = connection;
    this.#pointer = pointer;
    const { api } = connection.core.build;
    this.readOnly = api.sqlite3_stmt_readonly(pointer) !== 0;
    this.parameterCount = api.sqlite3_bind_parameter_count(pointer);
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
    const connection = this.#connection;
    const { file, core } = connection;
    this.#values = 0;
    if (file.idle) {
      connection.refreshSchema();
      file.startsOnHead = !this.readOnly || !connection.autocommit;
    }
    const code = core.step(this.#live);
    if (code === resultCode.row) return true;
    if (code === resultCode.done) return false;
    throw connection.failure();
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

  columnType(column: number): StorageClass {
    const value = this.#valueAt(column);
    return (
      (value === 0 ? undefined : classOfFlags[this.#flagsOf(value)]) ??
      (this.#api.sqlite3_column_type(this.#live, column) as StorageClass)
    );
  }

  copyNumber(column: number, to: Writer, at: number): void {
    const value = this.#valueAt(column);
    const flags = value === 0 ? 0 : this.#flagsOf(value);
    const target = to.view;
    if (flags === valueFlag.integer || flags === valueFlag.float) {
      const { view } = this.#connection.core.build.memory;
      const from = value + valueLayout.numberAt;
      target.setInt32(at, view.getInt32(from, true), true);
      target.setInt32(at + 4, view.getInt32(from + 4, true), true);
    } else if (flags === valueFlag.null) {
      target.setInt32(at, 0);
      target.setInt32(at + 4, 0);
    } else if (this.columnType(column) === storageClass.float) {
      target.setFloat64(at, this.columnFloat(column), true);
    } else {
      target.setBigInt64(at, this.columnInteger(column), true);
    }
  }

  writeText(column: number, to: Writer): void {
    const value = this.#valueAt(column);
    if (value === 0 || !this.#writeShortText(value, to)) {
      textBytes.write(to, this.columnBytes(column), 0);
    }
  }

  /** Copies what is short in a loop, which is faster than making a view of it. False: written by other means. */
  #writeShortText(value: number, to: Writer): boolean {
    const { view } = this.#connection.core.build.memory;
    const length = view.getInt32(value + valueLayout.lengthAt, true);
    const isText = this.#flagsOf(value) === valueFlag.text;
    if (!isText || length > shortTextBytes) return false;
    if (view.getUint8(value + valueLayout.encodingAt) !== utf8Encoding) return false;
    const pointer = view.getUint32(value + valueLayout.pointerAt, true);
    const before = to.length;
    const at = to.takePadded(length + 1);
    if (!copyText(view, pointer, to.view, at, length)) {
      to.truncate(before);
      return false;
    }
    to.bytes[at + length] = 0;
    return true;
  }

  columnInteger(column: number): bigint {
    return this.#connection.core.build.columnInteger(this.#live, column);
  }

  columnFloat(column: number): number {
    return this.#api.sqlite3_column_double(this.#live, column);
  }

  columnBytes(column: number): Uint8Array {
    const value = this.#valueAt(column);
    const { memory } = this.#connection.core.build;
    if (value !== 0) {
      const flags = this.#flagsOf(value);
      const { view } = memory;
      const utf8 = view.getUint8(value + valueLayout.encodingAt) === utf8Encoding;
      if (flags === valueFlag.blob || (flags === valueFlag.text && utf8)) {
        const pointer = view.getUint32(value + valueLayout.pointerAt, true);
        const length = view.getInt32(value + valueLayout.lengthAt, true);
        return memory.bytes.subarray(pointer, pointer + length);
      }
    }
    return this.#convertedBytes(column);
  }

  /** As SQLite makes them of whatever the value is. */
  #convertedBytes(column: number): Uint8Array {
    const api = this.#api;
    // Values may move.
    this.#values = 0;
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

  /** Address of a value of the present row; 0 when values have to be asked for. */
  #valueAt(column: number): number {
    const { valueStride } = this.#connection.core;
    if (valueStride === 0) return 0;
    if (this.#values === 0) this.#values = this.#api.sqlite3_column_value(this.#live, 0) >>> 0;
    return this.#values + column * valueStride;
  }

  #flagsOf(value: number): number {
    const { view } = this.#connection.core.build.memory;
    return view.getUint16(value + valueLayout.flagsAt, true) & valueFlagMask;
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

  #bound(code: number): void {
    if (code !== resultCode.ok) throw this.#connection.failure();
  }
}

/** Copies four bytes at a time. False: there is a zero among them, at which the text ends for its reader. */
function copyText(
  from: DataView,
  source: number,
  to: DataView,
  target: number,
  length: number,
): boolean {
  const words = length & ~3;
  let zeros = 0;
  for (let i = 0; i < words; i += 4) {
    const word = from.getUint32(source + i, true);
    // Leaves the highest bit of each byte that is zero, and perhaps of bytes above one that is.
    zeros |= (word - 0x01010101) & ~word & 0x80808080;
    to.setUint32(target + i, word, true);
  }
  for (let i = words; i < length; i++) {
    const byte = from.getUint8(source + i);
    if (byte === 0) return false;
    to.setUint8(target + i, byte);
  }
  return zeros === 0;
}

/** A statement with the answer already in it: at most one row of one value. */
export class ConstantStatement implements Statement {
  #shape: RowShape | undefined;
  readonly sql = nothing;
  readonly parameterCount = 0;
  readonly readOnly = true;
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

  writeText(_column: number, to: Writer): void {
    textBytes.write(to, this.columnBytes(), 0);
  }

  copyNumber(_column: number, to: Writer, at: number): void {
    to.view.setBigInt64(at, this.columnInteger(), true);
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
