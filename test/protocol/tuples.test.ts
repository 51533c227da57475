import t from 'tap';
import { DqliteError, WireError } from '../../src/base/errors.ts';
import { seededRandom } from '../../src/base/random.ts';
import {
  decodeParameters,
  encodeParameters,
  ParameterCursor,
  type ParameterSink,
  type Parameters,
  parameters,
} from '../../src/protocol/parameters.ts';
import { decodeResponse } from '../../src/protocol/responses.ts';
import {
  type PackedRows,
  RowShape,
  type RowSource,
  RowWriter,
  rowBatchBytes,
} from '../../src/protocol/row-writer.ts';
import { rowBatch } from '../../src/protocol/rows.ts';
import type { Value } from '../../src/protocol/values.ts';
import { Reader, Writer } from '../../src/protocol/words.ts';

type Cell = null | bigint | number | string | Buffer;

/** Takes notes of what is bound: "1 integer 5". */
class Notes implements ParameterSink {
  readonly notes: string[] = [];
  bindInteger(index: number, value: bigint): void {
    this.notes.push(`${index} integer ${value}`);
  }
  bindFloat(index: number, value: number): void {
    this.notes.push(`${index} float ${value}`);
  }
  bindText(index: number, value: Uint8Array): void {
    this.notes.push(`${index} text ${Buffer.from(value).toString('latin1')}`);
  }
  bindBlob(index: number, value: Uint8Array): void {
    this.notes.push(`${index} blob ${Buffer.from(value).toString('hex')}`);
  }
  bindNull(index: number): void {
    this.notes.push(`${index} null`);
  }
}

/** A statement that stands on one row after the other. */
class Rows implements RowSource {
  get shape(): RowShape {
    return new RowShape(this);
  }
  readonly columnCount: number;
  readonly #columns: readonly (readonly [name: string, declared?: string])[];
  row: readonly Cell[] = [];
  /** Rows that follow. */
  next: (readonly Cell[])[] = [];

  constructor(...columns: (readonly [name: string, declared?: string])[]) {
    this.#columns = columns;
    this.columnCount = columns.length;
  }
  columnName(column: number): Uint8Array {
    return Buffer.from(this.#columns[column]?.[0] ?? '');
  }
  columnDeclaredType(column: number): string | undefined {
    return this.#columns[column]?.[1];
  }
  columnType(column: number): number {
    const value = this.row[column];
    if (value === null || value === undefined) return 5;
    if (typeof value === 'bigint') return 1;
    if (typeof value === 'number') return 2;
    return typeof value === 'string' ? 3 : 4;
  }
  packRows(_shape: RowShape, onRow: boolean): PackedRows {
    return { rowCount: 0, end: onRow || this.step() ? 'row' : 'done' };
  }
  step(): boolean {
    const row = this.next.shift();
    if (row !== undefined) this.row = row;
    return row !== undefined;
  }
  columnInteger(column: number): bigint {
    const value = this.row[column];
    return typeof value === 'bigint' ? value : 0n;
  }
  columnFloat(column: number): number {
    return Number(this.row[column]);
  }
  columnBytes(column: number): Uint8Array {
    const value = this.row[column];
    return value === null || value === undefined ? Buffer.alloc(0) : Buffer.from(value as string);
  }
}

function read(hex: string, schema = 0): Parameters {
  return parameters.read(new Reader(Buffer.from(hex, 'hex')), schema);
}

function bound(source: Parameters, count = 10): { ok: boolean; notes: string[] } {
  const sink = new Notes();
  const ok = new ParameterCursor(source).bind(sink, count);
  return { ok, notes: sink.notes };
}

/** Writes rows as a session does and reads the messages back. */
function messages(source: Rows, rows: readonly (readonly Cell[])[]): Buffer[] {
  const to = new Writer();
  const writer = new RowWriter(to, source);
  const found: Buffer[] = [];
  source.next = [...rows];
  let end: 'part' | 'done' = 'part';
  while (end === 'part') {
    writer.begin();
    end = writer.rows(false);
    writer.end(end);
    found.push(to.takeBytes());
  }
  return found;
}

function valuesOf(source: Rows, ...row: Cell[]): readonly Value[] | undefined {
  const [message = Buffer.alloc(0)] = messages(source, [row]);
  const response = decodeResponse({ type: 7, schema: 0, body: message.subarray(8) });
  return response?.kind === 'rows' ? response.batch.rows[0] : undefined;
}

t.test('parameters are bound as their types say', (t) => {
  const values: Value[] = [
    { type: 'integer', value: -5n },
    { type: 'float', value: 1.5 },
    { type: 'text', value: 'hé' },
    { type: 'blob', value: Buffer.from([1, 2, 3]) },
    { type: 'null' },
    { type: 'iso8601', value: '2020-01-01' },
    { type: 'boolean', value: 7n },
    { type: 'blob', value: Buffer.alloc(0) },
  ];
  const encoded = encodeParameters(values);
  t.strictSame(bound(encoded), {
    ok: true,
    notes: [
      '1 integer -5',
      '2 float 1.5',
      `3 text ${Buffer.from('hé').toString('latin1')}`,
      '4 blob 010203',
      '5 null',
      '6 text 2020-01-01',
      '7 integer 1',
      '8 blob ',
    ],
  });
  t.same(decodeParameters(encoded), values);
  t.end();
});

t.test('statements take parameters from left to right, as many as they want', (t) => {
  const values = [1n, 2n, 3n].map((value): Value => ({ type: 'integer', value }));
  const cursor = new ParameterCursor(encodeParameters(values));
  const sink = new Notes();
  t.ok(cursor.bind(sink, 2));
  t.equal(cursor.remaining, 1);
  t.ok(cursor.bind(sink, 0));
  t.ok(cursor.bind(sink, 5), 'fewer than wanted is fine: the rest is NULL');
  t.strictSame(sink.notes, ['1 integer 1', '2 integer 2', '1 integer 3']);
  t.equal(cursor.remaining, 0);
  t.end();
});

t.test('a value of a bad type or one that is cut off is no error of the connection', (t) => {
  for (const code of ['00', '06', '09', '0c', 'ff']) {
    const source = read(`0201${code}0000000000${'0500000000000000'.repeat(2)}`);
    t.strictSame(bound(source), { ok: false, notes: ['1 integer 5'] }, `type ${code}`);
    t.ok(new ParameterCursor(source).bind(new Notes(), 1), 'nobody looks at surplus parameters');
  }
  const cutOff = {
    integer: '0101000000000000',
    text: '0103000000000000' + '6162636465666768',
    blob: '0104000000000000' + '0900000000000000' + '6162636465666768',
    'endless blob': '0104000000000000' + 'ffffffffffffffff',
    'missing null': '0105000000000000',
  };
  for (const [what, hex] of Object.entries(cutOff)) t.notOk(bound(read(hex)).ok, what);
  t.end();
});

t.test('what a statement throws while binding passes through', (t) => {
  const sink = new Notes();
  sink.bindNull = () => {
    throw DqliteError.fromSqlite(18, 'string or blob too big');
  };
  const cursor = new ParameterCursor(encodeParameters([{ type: 'null' }]));
  t.throws(() => cursor.bind(sink, 1), DqliteError);
  t.end();
});

t.test('the list of types is counted with one byte in schema 0 and four in schema 1', (t) => {
  t.equal(read('').types.length, 0);
  t.equal(read('0000000000000000').types.length, 0);
  t.equal(read('01053f2c3f2c3f2c').types.length, 1, 'padding may be anything');
  t.strictSame([...read('0705050505050505').types], [5, 5, 5, 5, 5, 5, 5]);
  t.equal(read('0805050505050505' + '0500000000000000').types.length, 8);
  t.equal(read('0400000005050505', 1).types.length, 4);
  t.equal(read('0500000005050505' + '0500000000000000', 1).types.length, 5);

  t.throws(() => read('c805050505050505'), WireError);
  t.throws(() => read('0805050505050505'), WireError, 'eight types need a second word');
  t.throws(() => read('ffffffff05050505', 1), WireError);
  t.end();
});

t.test('parameters are written as clients write them', (t) => {
  const write = (values: Value[], schema: number): string => {
    const to = new Writer(64);
    parameters.write(to, encodeParameters(values), schema);
    return to.takeBytes().toString('hex');
  };
  t.equal(write([], 0), '');
  const two: Value[] = [{ type: 'integer', value: 1n }, { type: 'null' }];
  t.equal(write(two, 0), '0201050000000000' + '0100000000000000' + '0000000000000000');
  t.equal(write(two, 1), '0200000001050000' + '0100000000000000' + '0000000000000000');

  const many = encodeParameters(Array.from({ length: 256 }, (): Value => ({ type: 'null' })));
  const to = new Writer(64);
  t.throws(() => parameters.write(to, many, 0), 'schema 0 counts up to 255');
  parameters.write(to, many, 1);
  t.equal(parameters.read(new Reader(to.takeBytes()), 1).types.length, 256);
  t.end();
});

t.test('values in rows are typed by storage class, then by declared type', (t) => {
  const declared = ['INTEGER', 'DATE', 'datetime', 'TimeStamp', 'BOOLEAN', 'TIMESTAMP(6)', 'BOOL'];
  const columns = declared.map((type) => [type, type] as const);
  const types = (cell: Cell): string[] =>
    (valuesOf(new Rows(...columns), ...declared.map(() => cell)) ?? []).map(({ type }) => type);
  const dates = (type: string, date: string, boolean: string): string[] => [
    ...[type, date, date, date, boolean, type, type],
  ];
  t.strictSame(types(5n), dates('integer', 'unixTime', 'boolean'));
  t.strictSame(types('x'), dates('text', 'iso8601', 'text'));
  t.strictSame(types(null), dates('null', 'iso8601', 'boolean'));
  t.strictSame(types(1.5), dates('float', 'float', 'float'));
  t.strictSame(types(Buffer.from('b')), dates('blob', 'blob', 'blob'));
  t.strictSame(valuesOf(new Rows(['d', 'DATE'], ['b', 'BOOLEAN'], ['e']), null, null, -1n), [
    { type: 'iso8601', value: '' },
    { type: 'boolean', value: 0n },
    { type: 'integer', value: -1n },
  ]);
  t.end();
});

t.test('a row is packed as recorded: types in half bytes, zeros as padding', (t) => {
  const columns = Array.from({ length: 17 }, (_, i) => [`c${i}`] as const);
  const row = columns.map((_, i): Cell => (i === 1 ? Buffer.from('b') : 1n));
  const [message = Buffer.alloc(0)] = messages(new Rows(...columns), [row]);
  const rowAt = 8 + 8 + 17 * 8;
  t.equal(
    message.subarray(rowAt, rowAt + 16).toString('hex'),
    '4111111111111111' + '0100000000000000',
  );
  t.equal(
    message.subarray(rowAt + 24, rowAt + 40).toString('hex'),
    '0100000000000000' + '6200000000000000',
  );
  t.equal(message.readUInt32LE(0), message.length / 8 - 1);
  t.end();
});

t.test('a text with a zero in it ends there, and the row stays whole', (t) => {
  const values = valuesOf(new Rows(['a'], ['b']), 'abcdefgh\0ijk', 5n);
  t.strictSame(values, [
    { type: 'text', value: 'abcdefgh' },
    { type: 'integer', value: 5n },
  ]);
  t.end();
});

t.test(
  'messages are closed at 4096 bytes: 254 rows of a word fit, 255 need another message',
  (t) => {
    const rowsOf = (n: number): bigint[][] => Array.from({ length: n }, (_, i) => [BigInt(i)]);
    const shape = (n: number, name = 'n'): string[] =>
      messages(new Rows([name]), rowsOf(n)).map((message) => {
        const { rows, done } = rowBatch.read(new Reader(message.subarray(8)), 0);
        return `${rows.length} rows, ${done ? 'done' : 'part'}, ${message.length} bytes`;
      });
    t.strictSame(shape(0), ['0 rows, done, 32 bytes']);
    t.strictSame(shape(254), ['254 rows, done, 4096 bytes']);
    t.strictSame(shape(255), ['255 rows, part, 4112 bytes', '0 rows, done, 32 bytes']);
    t.strictSame(shape(254, 'eight888'), ['254 rows, part, 4104 bytes', '0 rows, done, 40 bytes']);
    t.strictSame(shape(256), ['255 rows, part, 4112 bytes', '1 rows, done, 48 bytes']);
    t.end();
  },
);

t.test('names longer than a message do not keep rows out of it', (t) => {
  const source = new Rows(['x'.repeat(2 * rowBatchBytes)]);
  t.equal(messages(source, [[1n], [2n]]).length, 3);
  t.end();
});

t.test('a message that was begun can be taken back', (t) => {
  const to = new Writer(64);
  const source = new Rows(['n']);
  const writer = new RowWriter(to, source);
  writer.begin();
  source.next = [[1n]];
  writer.rows(false);
  t.equal(writer.rowCount, 1);
  writer.discard();
  t.equal(to.length, 0);
  writer.begin();
  writer.end('done');
  t.equal(to.length, 32);
  t.end();
});

t.test('rows of no columns, unknown types and missing markers are a WireError', (t) => {
  const body = (hex: string): Buffer => Buffer.from(hex, 'hex');
  const decode = (hex: string): unknown => rowBatch.read(new Reader(body(hex)), 0);
  t.throws(() => decode('0000000000000000' + '0100000000000000'), WireError);
  t.throws(
    () => decode(`01000000000000006e000000000000000600000000000000${'00'.repeat(8)}`),
    WireError,
  );
  t.throws(() => decode('0100000000000000' + '6e00000000000000'), WireError);
  t.throws(() => decode('ffffffffffffff00' + '6e00000000000000'), WireError);
  t.strictSame(decode(`0000000000000000${'ff'.repeat(8)}`), { columns: [], rows: [], done: true });
  t.end();
});

t.test('rows of any values survive a round trip', (t) => {
  const random = seededRandom(4);
  let wrong = 0;
  for (let i = 0; i < 200; i++) {
    const to = new Writer(256);
    rowBatch.write(to, rowBatch.sample(random, 0), 0);
    const bytes = to.takeBytes();
    rowBatch.write(to, rowBatch.read(new Reader(bytes), 0), 0);
    if (!to.takeBytes().equals(bytes)) wrong++;
  }
  t.equal(wrong, 0);
  t.end();
});
