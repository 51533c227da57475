import { resultCode } from '../../vfs/sqlite-codes.ts';
import { utf8Encoding, valueFlag, valueFlagMask, valueLayout } from './value-layout.ts';
import * as wasm from './wasm-assembler.ts';

const { block, branch, branchIf, call, get, i32, i64, loop, returns, set, when } = wasm;

/** What the module and its caller share in SQLite's memory: results, type codes, and rows. */
export const rowArea = {
  /** Results: how many rows were packed, and the bytes that they take. */
  rowCountAt: 0,
  lengthAt: 4,
  /** That of a value with flag 1 << f in column n at 8n + f. Enough for the 2000 columns that SQLite allows. */
  codesAt: 8,
  codesBytes: 16_000,
  rowsAt: 16_008,
  /** A row of as many numbers fits, also behind rows that nearly fill a message. */
  rowsBytes: 32_768,
} as const;

export const rowAreaBytes = rowArea.rowsAt + rowArea.rowsBytes;

/** What `packRows` returns when it has reached its limit: nothing that sqlite3_step does. */
export const limitReached = resultCode.ok;

/** `packRows` as JavaScript calls it; `onRow` is 0 or 1. */
export type PackRows = (
  statement: number,
  columnCount: number,
  onRow: number,
  area: number,
  limitBytes: number,
) => number;

/**
 * A module that steps a statement and packs its rows as ROWS messages have them. It imports `step`, `columnValue` and
 * the memory of an instance of SQLite in which the values of a row lie `stride` bytes apart.
 */
export function rowModule(stride: number): Uint8Array<ArrayBuffer> {
  return wasm.assemble({
    importsMemory: true,
    imports: {
      step: { parameters: { statement: 'i32' }, result: 'i32' },
      columnValue: { parameters: { statement: 'i32', column: 'i32' }, result: 'i32' },
    },
    functions: { packRows: packRows(), packRow: packRow(stride), copy: copy() },
  });
}

const wordBytes = 8;

/** What a blob takes besides its bytes, at most: its length, and a last word. */
const slackBytes = 2 * wordBytes;

/**
 * Packs rows, the one that the statement stands on (`onRow`) or the next one first, until they have `limitBytes`. Returns
 * `limitReached`; SQLITE_ROW when the statement stands on a row that cannot be packed; or what else a step returned.
 */
function packRows(): wasm.WasmFunction {
  const [start, at, end, rowCount] = [get('start'), get('at'), get('end'), get('rowCount')];
  const value = call('columnValue', get('statement'), i32.const(0));
  return {
    parameters: {
      statement: 'i32',
      columnCount: 'i32',
      onRow: 'i32',
      area: 'i32',
      limitBytes: 'i32',
    },
    locals: { start: 'i32', at: 'i32', end: 'i32', rowCount: 'i32', code: 'i32' },
    result: 'i32',
    body: [
      set('start', i32.add(get('area'), i32.const(rowArea.rowsAt))),
      set('at', start),
      set('code', i32.const(resultCode.row)),
      block(
        'stopped',
        loop(
          'next row',
          when(i32.eqz(get('onRow')), [
            set('code', call('step', get('statement'))),
            branchIf('stopped', i32.ne(get('code'), i32.const(resultCode.row))),
          ]),
          set('onRow', i32.const(0)),
          set('end', call('packRow', value, get('columnCount'), get('area'), at)),
          branchIf('stopped', i32.eqz(end)),
          set('at', end),
          set('rowCount', i32.add(rowCount, i32.const(1))),
          branchIf('next row', i32.ltS(i32.sub(at, start), get('limitBytes'))),
        ),
        set('code', i32.const(limitReached)),
      ),
      i32.store(get('area'), rowCount, rowArea.rowCountAt),
      i32.store(get('area'), i32.sub(at, start), rowArea.lengthAt),
      get('code'),
    ],
  };
}

/**
 * Packs one row at `at`: a header with four bits for the type of each column, in whole words, then the values, of which
 * the first is at `value`. Returns where the row ends; 0 when only SQLite can tell a value or the area is too small.
 */
function packRow(stride: number): wasm.WasmFunction {
  const [value, flags, column, at] = [get('value'), get('flags'), get('column'), get('at')];
  const headerWords = i32.shrU(i32.add(get('columnCount'), i32.const(15)), i32.const(4));
  const is = (flag: number) => i32.and(flags, i32.const(flag));
  const allFlags = i32.load16U(value, valueLayout.flagsAt);
  return {
    parameters: { value: 'i32', columnCount: 'i32', area: 'i32', at: 'i32' },
    locals: {
      codes: 'i32',
      last: 'i32',
      headerAt: 'i32',
      header: 'i64',
      column: 'i32',
      flags: 'i32',
      length: 'i32',
    },
    result: 'i32',
    body: [
      set('codes', i32.add(get('area'), i32.const(rowArea.codesAt))),
      set('last', i32.add(get('area'), i32.const(rowAreaBytes - slackBytes))),
      set('headerAt', at),
      set('at', i32.add(at, i32.shl(headerWords, i32.const(3)))),
      loop(
        'next column',
        when(i32.gtU(at, get('last')), [cannot]),
        set('flags', i32.and(allFlags, i32.const(valueFlagMask))),
        // Several kinds at once, none, or one that is not among the flags known here.
        when(i32.ne(i32.popcnt(flags), i32.const(1)), [cannot]),
        when(is(~knownFlags), [cannot]),
        ...packCode(),
        block(
          'packed',
          when(is(valueFlag.integer | valueFlag.float), [
            i64.store(at, i64.load(value, valueLayout.numberAt)),
            set('at', i32.add(at, i32.const(wordBytes))),
            branch('packed'),
          ]),
          when(is(valueFlag.text), [...packText(), branch('packed')]),
          when(is(valueFlag.blob), [...packBlob(), branch('packed')]),
          // NULL, or what stands for it: an empty text, or false.
          i64.store(at, i64.const(0)),
          set('at', i32.add(at, i32.const(wordBytes))),
        ),
        set('value', i32.add(value, i32.const(stride))),
        set('column', i32.add(column, i32.const(1))),
        branchIf('next column', i32.ltU(column, get('columnCount'))),
      ),
      at,
    ],
  };
}

const knownFlags =
  valueFlag.null | valueFlag.text | valueFlag.integer | valueFlag.float | valueFlag.blob;

const cannot = returns(i32.const(0));

/** Puts the type of a column into its word of the header. */
function packCode(): wasm.Code[] {
  const [codes, header, column] = [get('codes'), get('header'), get('column')];
  const code = i64.load8U(i32.add(codes, i32.ctz(get('flags'))));
  // Shifts count modulo 64: four bits for each of 16 columns, then over again.
  const bits = i64.shl(code, i64.extendI32U(i32.shl(column, i32.const(2))));
  const wordAt = i32.shl(i32.shrU(column, i32.const(4)), i32.const(3));
  return [
    when(i32.eqz(i32.and(column, i32.const(15))), [set('header', i64.const(0))]),
    set('header', i64.or(header, bits)),
    i64.store(i32.add(get('headerAt'), wordAt), header),
    set('codes', i32.add(codes, i32.const(8))),
  ];
}

/** A text, its closing zero, and zeros up to a whole word. One with a zero in it ends there for its reader: it cannot. */
function packText(): wasm.Code[] {
  const [value, at, length] = [get('value'), get('at'), get('length')];
  const from = i32.load(value, valueLayout.pointerAt);
  const encoding = i32.load8U(value, valueLayout.encodingAt);
  return [
    when(i32.ne(encoding, i32.const(utf8Encoding)), [cannot]),
    ...takeLength(),
    when(call('copy', from, at, length), [cannot]),
    set('at', i32.add(at, i32.add(i32.or(length, i32.const(7)), i32.const(1)))),
  ];
}

/** The length in a word, the bytes, and zeros up to a whole word. */
function packBlob(): wasm.Code[] {
  const [value, at, length] = [get('value'), get('at'), get('length')];
  const from = i32.load(value, valueLayout.pointerAt);
  return [
    ...takeLength(),
    i64.store(at, i64.extendI32U(length)),
    set('at', i32.add(at, i32.const(wordBytes))),
    wasm.drop(call('copy', from, at, length)),
    set('at', i32.add(at, i32.and(i32.add(length, i32.const(7)), i32.const(-8)))),
  ];
}

function takeLength(): wasm.Code[] {
  return [
    set('length', i32.load(get('value'), valueLayout.lengthAt)),
    when(i32.gtU(get('length'), i32.sub(get('last'), get('at'))), [cannot]),
  ];
}

/**
 * Copies `length` bytes word by word; in the last word, which may be of no bytes, zeros follow. Returns not 0 when there is
 * a zero among the bytes. It reads none but these: what follows them may lie beyond the end of memory.
 */
function copy(): wasm.WasmFunction {
  const [from, to, left, rest, word] = [
    get('from'),
    get('to'),
    get('left'),
    get('rest'),
    get('word'),
  ];
  const advance = (name: string, bytes: number) => set(name, i32.add(get(name), i32.const(bytes)));
  return {
    parameters: { from: 'i32', to: 'i32', left: 'i32' },
    locals: { rest: 'i32', word: 'i64', zeros: 'i64' },
    result: 'i32',
    body: [
      block(
        'words copied',
        loop(
          'next word',
          branchIf('words copied', i32.ltU(left, i32.const(wordBytes))),
          set('word', i64.load(from)),
          set('zeros', i64.or(get('zeros'), zerosIn(word))),
          i64.store(to, word),
          advance('from', wordBytes),
          advance('to', wordBytes),
          advance('left', -wordBytes),
          branch('next word'),
        ),
      ),
      set('word', i64.const(0)),
      set('rest', left),
      block(
        'bytes read',
        loop(
          'byte before',
          branchIf('bytes read', i32.eqz(rest)),
          advance('rest', -1),
          set('word', i64.or(i64.shl(word, i64.const(8)), i64.load8U(i32.add(from, rest)))),
          branch('byte before'),
        ),
      ),
      i64.store(to, word),
      i64.ne(i64.or(get('zeros'), zerosIn(i64.or(word, bytesFrom(left)))), i64.const(0)),
    ],
  };
}

/** Not 0 when one of the eight bytes is 0: the highest bit of each such byte, and perhaps of bytes above one. */
function zerosIn(word: wasm.Code): wasm.Code {
  const borrowed = i64.sub(word, i64.const(0x0101_0101_0101_0101n));
  const low = i64.xor(word, i64.const(-1));
  return i64.and(i64.and(borrowed, low), i64.const(0x8080_8080_8080_8080n));
}

/** A word with all bits of the bytes from number `count` on. */
function bytesFrom(count: wasm.Code): wasm.Code {
  return i64.shl(i64.const(-1), i64.extendI32U(i32.shl(count, i32.const(3))));
}
