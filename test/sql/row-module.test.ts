import t from 'tap';
import {
  limitReached,
  type PackRows,
  rowArea,
  rowAreaBytes,
  rowModule,
} from '../../src/sql/engines/row-module.ts';
import { valueFlag, valueLayout } from '../../src/sql/engines/value-layout.ts';

const stride = 40;
const areaAt = 4096;
const valuesAt = 1024;
const pageBytes = 65_536;
const guard = 0xaa;

const result = { row: 100, done: 101 } as const;

/** The module beside a statement of rows that are always the same, in memory of two pages. */
function packer(steps: readonly number[], columnCount = 1) {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2 });
  const bytes = Buffer.from(memory.buffer);
  bytes.fill(guard);
  for (let i = 0; i < rowArea.codesBytes; i++) bytes[areaAt + rowArea.codesAt + i] = 1 + (i % 8);
  const left = [...steps];
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(rowModule(stride)), {
    js: { memory, step: () => left.shift() ?? result.done, columnValue: () => valuesAt },
  });
  const packRows = exports.packRows as PackRows;
  return {
    bytes,
    left,
    value(column: number, flags: number, pointer = 0, length = 0): void {
      const at = valuesAt + column * stride;
      bytes.writeUint16LE(flags, at + valueLayout.flagsAt);
      bytes.writeUint8(1, at + valueLayout.encodingAt);
      bytes.writeUint32LE(pointer, at + valueLayout.pointerAt);
      bytes.writeUint32LE(length, at + valueLayout.lengthAt);
    },
    run: (onRow: boolean, limitBytes: number) =>
      packRows(1, columnCount, onRow ? 1 : 0, areaAt, limitBytes),
    get rowCount() {
      return bytes.readInt32LE(areaAt + rowArea.rowCountAt);
    },
    get packed() {
      const from = areaAt + rowArea.rowsAt;
      return bytes.subarray(from, from + bytes.readInt32LE(areaAt + rowArea.lengthAt));
    },
    /** Nothing was written outside of the area. */
    get guarded() {
      return bytes.subarray(areaAt + rowAreaBytes).every((byte) => byte === guard);
    },
  };
}

t.test('rows are packed until they have the limit, or the statement has no more', (t) => {
  const one = packer([result.row, result.row, result.row, result.done]);
  one.value(0, valueFlag.null);
  t.equal(one.run(true, 1), limitReached);
  t.same([one.rowCount, one.packed.length, one.left.length], [1, 16, 4], 'no step');
  t.equal(one.run(false, 17), limitReached);
  t.same([one.rowCount, one.packed.length, one.left.length], [2, 32, 2]);
  t.equal(one.run(false, 16), limitReached);
  t.equal(one.run(false, 16), result.done);
  t.same([one.rowCount, one.packed.length], [0, 0]);
  t.equal(one.run(true, -8), limitReached);
  t.equal(one.rowCount, 1, 'also where the names of the columns fill the message');
  const failing = packer([result.row, 19]);
  failing.value(0, valueFlag.null);
  t.equal(failing.run(false, 4096), 19);
  t.equal(packer([]).run(true, -4096), result.row, 'no value is of no kind');
  t.end();
});

t.test('a row of which a value is not known is left out, and the rows before it are there', (t) => {
  for (const flags of [0, 0x20, 0x400, 0x410, 0x06, 0x12]) {
    const one = packer([result.row, result.row], 2);
    one.value(0, valueFlag.integer);
    one.value(1, flags);
    t.equal(one.run(true, 4096), result.row, `flags ${flags}`);
    t.same([one.rowCount, one.packed.length, one.left.length], [0, 0, 2]);
  }
  const utf16 = packer([]);
  utf16.value(0, valueFlag.text, 0, 0);
  utf16.bytes.writeUint8(2, valuesAt + valueLayout.encodingAt);
  t.equal(utf16.run(true, 4096), result.row);
  t.end();
});

t.test('a zero is found at each place of a text, and not beside it', (t) => {
  const at = 100_000;
  for (let length = 0; length < 40; length++) {
    const one = packer([]);
    one.value(0, valueFlag.text, at, length);
    one.bytes.fill(0, at - 16, at + length + 16);
    for (const filler of [0x01, 0x80, 0xff]) {
      one.bytes.fill(filler, at, at + length);
      if (one.run(true, 1) !== limitReached) t.fail(`${length} bytes`);
      const wanted = Buffer.alloc(8 + Math.ceil((length + 1) / 8) * 8);
      one.bytes.copy(wanted, 8, at, at + length);
      wanted[0] = 1 + Math.log2(valueFlag.text);
      if (!one.packed.equals(wanted)) t.fail(`${length} bytes`);
      for (let zero = 0; zero < length; zero++) {
        one.bytes[at + zero] = 0;
        if (one.run(true, 1) !== result.row) t.fail(`${zero} of ${length} bytes`);
        one.bytes[at + zero] = filler;
      }
    }
  }
  t.end();
});

t.test(
  'texts and blobs are read to the end of memory, and nothing is written behind the area',
  (t) => {
    for (const flags of [valueFlag.text, valueFlag.blob]) {
      let fits = 0;
      for (let length = 32_650; length < 32_800; length++) {
        const one = packer([], 2);
        one.value(0, valueFlag.integer);
        one.value(1, flags, 2 * pageBytes - length, length);
        const code = one.run(true, 1);
        if (code === limitReached) fits = length;
        else if (code !== result.row) t.fail(`${length} bytes`);
        const last = 8 + (flags === valueFlag.text ? 0 : 8);
        if (code === limitReached && one.packed.length < last + length) t.fail(`${length} bytes`);
        if (!one.guarded) t.fail(`${length} bytes`);
      }
      t.ok(fits > 32_700 && fits < rowArea.rowsBytes, 'up to the size of the area');
    }
    const short = packer([]);
    for (let length = 0; length < 16; length++) {
      short.value(0, valueFlag.text, 2 * pageBytes - length, length);
      t.equal(short.run(true, 1), limitReached);
    }
    t.end();
  },
);

t.test('a length that no value has is left to SQLite', (t) => {
  const one = packer([]);
  for (const flags of [valueFlag.text, valueFlag.blob]) {
    one.value(0, flags, 0, 0xffff_ffff);
    t.equal(one.run(true, 1), result.row);
    one.value(0, flags, 0, 0x8000_0000);
    t.equal(one.run(true, 1), result.row);
  }
  t.ok(one.guarded);
  t.end();
});

t.test('numbers and NULLs fill the area and go no further', (t) => {
  const steps = Array.from({ length: 5000 }, () => result.row);
  const one = packer(steps, 3);
  for (let column = 0; column < 3; column++) one.value(column, valueFlag.integer);
  t.equal(one.run(false, 1_000_000), result.row);
  t.equal(one.rowCount, Math.floor((rowArea.rowsBytes - 16) / 32));
  t.ok(one.guarded);
  t.end();
});
