import type { Test } from 'tap';
import { Writer } from '../../src/protocol/words.ts';
import type { Statement } from '../../src/sql/engine.ts';
import { storageClass } from '../../src/sql/engine.ts';
import { Bench, type EngineMaker } from './engine-bench.ts';

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
  "'naïve ☃ 🦆'",
  "'before' || char(0) || 'behind'",
  "'long ' || hex(zeroblob(500))",
  'CAST(17 AS TEXT)',
  "CAST('x' AS BLOB)",
  "x''",
  "x'00ff00'",
  'zeroblob(9)',
  'real_column',
  'integer_column',
  'text_column',
  'length(text_column)',
  'total(integer_column)',
];

/** A row is read in one go where an engine can: it must be what the functions for one value say. */
export function rowConformance(t: Test, make: EngineMaker): void {
  t.test('a row is written as its values are, one by one', (t) => {
    const bench = new Bench(make);
    const connection = bench.connect();
    connection.run('CREATE TABLE t (real_column REAL, integer_column INTEGER, text_column TEXT)');
    connection.run("INSERT INTO t VALUES (3, 4, 'five')");
    bench.commitAll();
    const one = connection.prepare(`SELECT ${expressions.join(', ')} FROM t`);
    t.ok(one.step());
    for (const [column, expression] of expressions.entries()) {
      const bytes = connection.value(`SELECT hex(${expression}) FROM t`);
      t.same(written(one, column), asked(one, column, String(bytes)), expression);
    }
    one.finalize();
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
    t.equal(all.shape.declared.length, 2);
    all.finalize();
    t.end();
  });
}

/** The bytes that a row has for a column. */
function written(statement: Statement, column: number): Buffer {
  const to = new Writer();
  const type = statement.columnType(column);
  if (type === storageClass.text) statement.writeText(column, to);
  else if (type === storageClass.blob) return Buffer.from(statement.columnBytes(column));
  else {
    const at = to.take(8);
    statement.copyNumber(column, to, at);
  }
  return to.takeBytes();
}

/** The same from SQLite's functions for one value; `hex`: what SQLite's own function says of its bytes. */
function asked(statement: Statement, column: number, hex: string): Buffer {
  const number = Buffer.alloc(8);
  const bytes = Buffer.from(hex, 'hex');
  switch (statement.columnType(column)) {
    case storageClass.integer:
      number.writeBigInt64LE(statement.columnInteger(column));
      return number;
    case storageClass.float:
      number.writeDoubleLE(statement.columnFloat(column));
      return number;
    case storageClass.null:
      return number;
    case storageClass.text: {
      const zero = bytes.indexOf(0);
      const text = zero < 0 ? bytes : bytes.subarray(0, zero);
      return Buffer.concat([text, Buffer.alloc(8 - (text.length % 8))]);
    }
    case storageClass.blob:
      return bytes;
  }
}
