import { assert } from '../base/assert.ts';
import { WireError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { type Kind, listOf, text } from './kinds.ts';
import {
  readValue,
  sampleValue,
  type Value,
  type ValueType,
  valueTable,
  writeValue,
} from './values.ts';
import type { Reader, Writer } from './words.ts';
import { wordBytes } from './words.ts';

/** Type of a response that holds rows. */
export const rowsType = 7;

/** Last word of a ROWS message: whether more batches follow without being asked for. */
export const rowsMarker = { part: 0xeeee_eeee_eeee_eeeen, done: 0xffff_ffff_ffff_ffffn } as const;

/** The rows of one ROWS message. */
export interface RowBatch {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Value[])[];
  /** No batch follows. */
  readonly done: boolean;
}

/** Bytes of the type codes in front of a row: four bits for each column, in whole words. */
export function rowHeaderBytes(columnCount: number): number {
  const bitsOfColumn = 4;
  return Math.ceil((columnCount * bitsOfColumn) / (8 * wordBytes)) * wordBytes;
}

/** Puts the type code of a column into a row header that was zero there. */
export function setRowType(bytes: Buffer, headerAt: number, column: number, code: number): void {
  const at = headerAt + (column >> 1);
  bytes[at] = (bytes[at] ?? 0) | (column % 2 === 0 ? code : code << 4);
}

const columnNames = listOf(text);

/**
 * The body of ROWS: the names of the columns, rows, a marker. A row is a header with the type of each column (four
 * bits each, the even column in the lower half of a byte), then the values.
 */
export const rowBatch: Kind<RowBatch> = {
  name: 'uint64 n; n × text name; rows; uint64 marker',
  write(to, { columns, rows, done }) {
    columnNames.write(to, columns, 0);
    for (const row of rows) writeRow(to, columns.length, row);
    const at = to.take(wordBytes);
    to.bytes.writeBigUInt64LE(done ? rowsMarker.done : rowsMarker.part, at);
  },
  read(from) {
    const columns = columnNames.read(from, 0);
    const rows: Value[][] = [];
    for (;;) {
      const marker = takeMarker(from);
      if (marker !== undefined) return { columns, rows, done: marker === rowsMarker.done };
      // Rows of nothing take no bytes: without this check they would never end.
      if (columns.length === 0) throw new WireError('rows without columns');
      rows.push(readRow(from, columns.length));
    }
  },
  sample: (random) => {
    const columns = Array.from({ length: random.int(1, 20) }, () => text.sample(random, 0));
    const rows = Array.from({ length: random.int(0, 3) }, () => sampleRow(random, columns.length));
    return { columns, rows, done: random.int(0, 1) === 0 };
  },
};

function takeMarker(from: Reader): bigint | undefined {
  const at = from.take(wordBytes);
  const word = from.bytes.readBigUInt64LE(at);
  if (word === rowsMarker.done || word === rowsMarker.part) return word;
  from.untake(wordBytes);
  return undefined;
}

function writeRow(to: Writer, columnCount: number, row: readonly Value[]): void {
  assert(row.length === columnCount, 'a row has one value for each column');
  const size = rowHeaderBytes(columnCount);
  const headerAt = to.take(size);
  to.bytes.fill(0, headerAt, headerAt + size);
  for (const [column, { type }] of row.entries()) {
    setRowType(to.bytes, headerAt, column, valueTable[type].code);
  }
  for (const value of row) writeValue(to, value);
}

function readRow(from: Reader, columnCount: number): Value[] {
  const header = from.takeBytes(rowHeaderBytes(columnCount));
  const row: Value[] = [];
  for (let column = 0; column < columnCount; column++) {
    const pair = header[column >> 1] ?? 0;
    row.push(readValue(from, column % 2 === 0 ? pair & 15 : pair >> 4));
  }
  return row;
}

function sampleRow(random: Random, columnCount: number): Value[] {
  const types = Object.keys(valueTable) as ValueType[];
  return Array.from({ length: columnCount }, () => sampleValue(random, types));
}
