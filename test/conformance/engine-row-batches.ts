import type { Test } from 'tap';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { RowWriter, rowBatchBytes } from '../../src/protocol/row-writer.ts';
import { Writer } from '../../src/protocol/words.ts';
import type { SqliteConnection } from '../../src/sql/connection.ts';
import { EngineBroken, type Statement } from '../../src/sql/engine.ts';
import {
  Bench,
  type EngineMaker,
  failureOf,
  type TestConnection,
  type TestValue,
} from './engine-bench.ts';

const declaredTypes = ['', 'INTEGER', 'REAL', 'TEXT', 'BLOB', 'DATE', 'TIMESTAMP', 'BOOLEAN'];

/** Rows are packed many at a time where an engine can: the messages must be those of its values asked for one by one. */
export function rowBatchConformance(t: Test, make: EngineMaker): void {
  t.test('random rows make the same messages as their values do, one by one', (t) => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seededRandom(seed);
      const bench = new Bench(make);
      const connection = bench.connect();
      const columns = random.int(0, 2) === 0 ? random.int(15, 40) : random.int(1, 6);
      const rowCount = columns > 6 ? 60 : 300;
      fillTable(connection, random, columns, rowCount);
      bench.commitAll();
      const { messages, rows } = compared(t, connection, 'SELECT * FROM t', `seed ${seed}`);
      t.equal(rows, rowCount);
      t.ok(messages > 3, 'across messages');
    }
    t.end();
  });

  t.test('rows of every size up to more than fits are packed or asked for', (t) => {
    const bench = new Bench(make);
    const connection = bench.connect();
    const numbers = (count: number): string =>
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})`;
    compared(t, connection, `${numbers(300)} SELECT i, substr(hex(zeroblob(150)), 1, i) FROM n`);
    compared(t, connection, `${numbers(300)} SELECT CAST(hex(zeroblob(i)) AS BLOB), i FROM n`);
    compared(
      t,
      connection,
      `${numbers(120)} SELECT i, hex(zeroblob(16320 + i)), CAST(hex(zeroblob(16320 + i)) AS BLOB) FROM n`,
    );
    compared(t, connection, `${numbers(9)} SELECT i, hex(zeroblob(i % 3 * 30000)) FROM n`);
    t.end();
  });

  t.test('memory that grows in the middle of a message moves nothing', (t) => {
    const bench = new Bench(make);
    const connection = bench.connect();
    const sql = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
      SELECT i, 'text ' || i, iif(i = 20, length(hex(zeroblob(20000000))), 0) FROM n`;
    const before = bench.engine.memoryBytes;
    const statement = connection.prepare(sql);
    const grown = messagesOf(statement).bytes;
    t.ok(bench.engine.memoryBytes > before);
    t.ok(grown.length > rowBatchBytes);
    t.same(grown, messagesOf(statement).bytes);
    statement.finalize();
    compared(t, connection, sql);
    t.end();
  });

  t.test('a step that fails, is interrupted or traps behind rows fails as it does alone', (t) => {
    const bench = new Bench(make);
    const connection = bench.connect();
    const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)';
    const overflow = `${endless} SELECT abs(iif(i = 30, -9223372036854775808, i)) FROM n`;
    const wanted = failureOf(() => connection.run(overflow));
    t.equal(wanted?.[1], 'integer overflow');
    const failing = connection.prepare(overflow);
    t.same(
      failureOf(() => messagesOf(failing)),
      wanted,
    );
    failing.finalize();
    const statement = connection.prepare(`${endless} SELECT i FROM n WHERE i < 10 OR i > 1000000`);
    let questions = 0;
    connection.inner.onProgress(() => ++questions >= 3);
    t.same(
      failureOf(() => messagesOf(statement)),
      [9, 'interrupted'],
    );
    t.equal(questions, 3);
    statement.reset();
    connection.inner.onProgress(() => {
      throw new Error('injected');
    });
    t.throws(() => messagesOf(statement), EngineBroken);
    t.ok(bench.engine.broken);
    t.throws(() => messagesOf(statement), EngineBroken);
    t.end();
  });
}

function fillTable(
  connection: TestConnection,
  random: Random,
  columns: number,
  rows: number,
): void {
  const names = Array.from({ length: columns }, (_, i) => {
    return `c${i} ${declaredTypes[random.int(0, declaredTypes.length - 1)]}`;
  });
  connection.run(`CREATE TABLE t (${names.join()})`);
  const insert = `INSERT INTO t VALUES (${names.map(() => '?').join()})`;
  for (let row = 0; row < rows; row++) {
    connection.run(
      insert,
      names.map(() => randomValue(random)),
    );
  }
}

function randomValue(random: Random): TestValue {
  switch (random.int(0, 9)) {
    case 0:
      return null;
    case 1:
      return random.int(-1e9, 1e9) / 128;
    case 2:
      return BigInt(random.int(-1e9, 1e9)) ** 2n * (random.int(0, 1) === 0 ? 1n : -1n);
    case 3:
      return BigInt(random.int(0, 2));
    case 4:
    case 5:
      return randomBytes(random, 0);
    default:
      return randomBytes(random, random.int(0, 40) === 0 ? 0 : 1).toString('latin1');
  }
}

/** Bytes from `least` on: a few mostly, rarely many. */
function randomBytes(random: Random, least: number): Buffer {
  const kind = random.int(0, 99);
  const length = kind === 0 ? random.int(0, 50_000) : random.int(0, kind < 10 ? 1000 : 30);
  return Buffer.from(Array.from({ length }, () => random.int(least, 255)));
}

/** Compares what a query answers with what it does where values are asked for; how many messages and rows. */
function compared(t: Test, connection: TestConnection, sql: string, about = sql) {
  const statement = connection.prepare(sql);
  const packed = messagesOf(statement);
  const { core } = connection.inner as SqliteConnection;
  const { packer } = core;
  core.packer = undefined;
  const byValues = messagesOf(statement);
  core.packer = packer;
  statement.finalize();
  t.ok(packed.bytes.equals(byValues.bytes), about);
  t.same(packed.rowCounts, byValues.rowCounts, about);
  const rows = packed.rowCounts.reduce((sum, count) => sum + count, 0);
  return { messages: packed.rowCounts.length, rows };
}

/** All messages of a query, one behind the other, as a session writes them. */
function messagesOf(statement: Statement): { bytes: Buffer; rowCounts: number[] } {
  const to = new Writer();
  const rowCounts: number[] = [];
  let more: boolean | undefined = statement.step();
  const rows = new RowWriter(to, statement);
  let end: 'part' | 'done' = 'part';
  while (end === 'part') {
    rows.begin();
    end = more === false ? 'done' : rows.rows(more === true);
    more = undefined;
    rowCounts.push(rows.rowCount);
    rows.end(end);
  }
  statement.reset();
  return { bytes: to.takeBytes(), rowCounts };
}
