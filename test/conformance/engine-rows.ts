import type { Test } from 'tap';
import { RowWriter } from '../../src/protocol/row-writer.ts';
import { Writer } from '../../src/protocol/words.ts';
import type { Statement } from '../../src/sql/engine.ts';
import { Bench, type EngineMaker, type TestConnection } from './engine-bench.ts';

/** One of each kind of value, and of each way that SQLite comes to hold it. */
const expressions = [
  '0',
  '-1',
  '4294967296',
  '9223372036854775807',
  '-9223372036854775808',
  '1.5',
  '-1e308',
  'NULL',
  "''",
  "'short'",
  "'seven b'",
  "'eight by'",
  "'naïve ☃ 🦆'",
  "'long ' || hex(zeroblob(500))",
  'CAST(17 AS TEXT)',
  "CAST('x' AS BLOB)",
  "x''",
  "x'00ff00'",
  "x'0001020304050607'",
  'hex(zeroblob(256))',
  'CAST(hex(zeroblob(400)) AS BLOB)',
  'real_column',
  'integer_column',
  'text_column',
  'date_column',
  'boolean_column',
  'no_date',
  'no_boolean',
  'length(text_column)',
  'total(integer_column)',
] as const;

/** Depends on the build. */
const sometimes = ['zeroblob(9)'] as const;

/** Texts that end for their reader before they end for SQLite. */
const oddities = ["'before' || char(0) || 'behind'", 'char(0)'] as const;

/** A row is read in one go where an engine can: it must be what the functions for one value say. */
export function rowConformance(t: Test, make: EngineMaker): void {
  t.test('a row is written as its values are, one by one', (t) => {
    const bench = new Bench(make);
    const connection = bench.connect();
    connection.run(
      `CREATE TABLE t (real_column REAL, integer_column INTEGER, text_column TEXT, date_column DATE,
        boolean_column BOOLEAN, no_date DATE, no_boolean BOOLEAN)`,
    );
    connection.run("INSERT INTO t VALUES (3, 4, 'five', '2020-02-02', 1, NULL, NULL)");
    bench.commitAll();
    const check = (columns: readonly string[], packs: boolean | undefined): void => {
      const statement = connection.prepare(`SELECT ${columns.join(', ')} FROM t`);
      t.ok(statement.step());
      const packed = packedRow(statement);
      if (packs !== undefined) t.equal(packed !== undefined, packs, `in one go: ${columns[0]}`);
      if (packed !== undefined) t.same(packed, rowByValues(statement), columns.join());
      statement.finalize();
    };
    for (const expression of expressions) check([expression], true);
    for (const expression of oddities) check([expression], false);
    for (const expression of sometimes) check([expression], undefined);
    check(
      Array.from({ length: 2000 }, (_, i) => String(i)),
      true,
    );
    for (let count = 2; count <= expressions.length; count++) {
      check(expressions.slice(0, count), true);
    }
    check([...expressions, oddities[0]], false);
    t.end();
  });

  t.test('rows of more columns than are foreseen are asked for', (t) => {
    const statement = new Bench(make).connect().prepare('SELECT 1');
    t.ok(statement.step());
    const wide = { ...statement.shape, codes: new Uint8Array(8 * 2001) };
    const to = new Writer();
    t.same(statement.packRows(wide, true, 1, to), { rowCount: 0, end: 'row' });
    t.same(statement.packRows(wide, false, 1, to), { rowCount: 0, end: 'done' });
    t.equal(to.length, 0);
    statement.finalize();
    t.end();
  });

  t.test('a plain read that begins with packing sees what is committed', (t) => {
    const bench = new Bench(make);
    const [a, b] = bench.connectAll(2) as [TestConnection, TestConnection];
    a.run("INSERT INTO t VALUES(2, 'two')");
    const statement = b.prepare('SELECT a FROM t');
    const to = new Writer();
    t.same(statement.packRows(statement.shape, false, 4096, to), { rowCount: 1, end: 'done' });
    statement.finalize();
    t.end();
  });

  t.test('the shape of a row is kept until the statement is compiled again', (t) => {
    const bench = new Bench(make);
    const connection = bench.connect();
    connection.run('CREATE TABLE t (a); INSERT INTO t VALUES (1)');
    bench.commitAll();
    const all = connection.prepare('SELECT * FROM t');
    all.step();
    const before = all.shape;
    all.reset();
    all.step();
    t.equal(all.shape, before);
    all.reset();
    connection.run('ALTER TABLE t ADD COLUMN b DATE');
    bench.commitAll();
    all.step();
    t.not(all.shape, before);
    t.equal(all.shape.columnCount, 2);
    all.finalize();
    t.end();
  });
}

/** The row packed in one go, between other bytes; undefined when it was not. */
function packedRow(statement: Statement): Buffer | undefined {
  // What was in the memory before must not show.
  Writer.giveBack(filled(4096));
  const to = new Writer();
  to.take(8);
  const { rowCount, end } = statement.packRows(statement.shape, true, 1, to);
  const bytes = to.takeBytes().subarray(8);
  if (end === 'limit' && rowCount === 1) return bytes;
  if (end !== 'row' || rowCount !== 0) throw new Error(`${rowCount} rows, ${end}`);
  if (bytes.length > 0) throw new Error('something was left behind');
  return undefined;
}

function filled(size: number): Buffer {
  const to = new Writer();
  const at = to.take(size);
  to.bytes.fill(0xaa, at, at + size);
  return to.takeBytes();
}

/** The same from SQLite's functions for one value. */
function rowByValues(statement: Statement): Buffer {
  const to = new Writer();
  const rows = new RowWriter(to, {
    shape: statement.shape,
    packRows: (_shape, onRow) => ({ rowCount: 0, end: onRow ? 'row' : 'done' }),
    columnType: (column) => statement.columnType(column),
    columnInteger: (column) => statement.columnInteger(column),
    columnFloat: (column) => statement.columnFloat(column),
    columnBytes: (column) => statement.columnBytes(column),
  });
  rows.begin();
  const before = to.length;
  rows.rows(true);
  return to.takeBytes().subarray(before);
}
