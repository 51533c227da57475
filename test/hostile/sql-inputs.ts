import { request } from '../support/wire.ts';
import { lastAnswerIn } from './conversation.ts';
import type { HostileInput } from './inputs.ts';

let databases = 0;

/** Runs each of `sql` with EXEC_SQL (a text that starts with "?": QUERY_SQL) in a database of its own. */
function session(name: string, sql: readonly string[], answer: string | RegExp): HostileInput {
  const database = `sql-${databases++}`;
  const messages = sql.map((text) =>
    text.startsWith('?') ? request.querySql(text.slice(1)) : request.execSql(text),
  );
  return { name, answer, send: (port) => lastAnswerIn(port, database, ...messages) };
}

const denied = 'FAILURE 23 "not authorized"';
const rowsYielded = /^FAILURE 1 "rows yielded/;

const columns: readonly HostileInput[] = [
  ['BOOLEAN', "'yes'", '3:yes'],
  ['BOOLEAN', '1.5', '2:1.5'],
  ['BOOLEAN', "x'01'", "4:x'01'"],
  ['DATE', '1.5', '2:1.5'],
  ['DATETIME', '1.5', '2:1.5'],
  ['TIMESTAMP', "x'01'", "4:x'01'"],
].map(([type, value, row]) =>
  session(
    `${value} in a ${type} column`,
    [`CREATE TABLE t (v ${type})`, `INSERT INTO t VALUES (${value})`, '?SELECT v FROM t'],
    `ROWS ["v"] (${row}) done`,
  ),
);

const returning: readonly HostileInput[] = [
  session(
    'a write after INSERT ... RETURNING by EXEC_SQL',
    [
      'CREATE TABLE t (v)',
      'INSERT INTO t VALUES (1) RETURNING v',
      'INSERT INTO t VALUES (2)',
      '?SELECT v FROM t',
    ],
    'ROWS ["v"] (1:2) done',
  ),
  session(
    'INSERT ... RETURNING by EXEC_SQL',
    ['CREATE TABLE t (v)', 'INSERT INTO t VALUES (1) RETURNING v'],
    rowsYielded,
  ),
  session(
    'a write after INSERT ... RETURNING by QUERY_SQL',
    [
      'CREATE TABLE t (v)',
      '?INSERT INTO t VALUES (1) RETURNING v',
      'INSERT INTO t VALUES (2)',
      '?SELECT v FROM t',
    ],
    'ROWS ["v"] (1:1) (1:2) done',
  ),
  session(
    'a write that fails in mid-statement',
    [
      'CREATE TABLE t (v CHECK (v < 3))',
      '?INSERT INTO t VALUES (1), (2), (3) RETURNING v',
      'INSERT INTO t VALUES (0)',
      '?SELECT v FROM t',
    ],
    'ROWS ["v"] (1:0) done',
  ),
];

const refused: readonly HostileInput[] = [
  'PRAGMA journal_mode=DELETE',
  'PRAGMA journal_mode=OFF',
  'PRAGMA main.JOURNAL_MODE=memory',
  'PRAGMA page_size=512',
  'PRAGMA synchronous=FULL',
  'PRAGMA locking_mode=EXCLUSIVE',
  'PRAGMA wal_checkpoint(TRUNCATE)',
  'PRAGMA wal_autocheckpoint=1',
  'PRAGMA busy_timeout=100000',
  'PRAGMA read_uncommitted=1',
  "ATTACH '/tmp/x.db' AS x",
  "ATTACH ':memory:' AS m",
].map((sql) => session(sql, [sql], denied));

const harmless: readonly HostileInput[] = [
  'PRAGMA temp_store=1',
  'PRAGMA mmap_size=1000000000',
  'PRAGMA cache_size=1',
  'PRAGMA cache_spill=1',
  'PRAGMA max_page_count=1',
  'PRAGMA hard_heap_limit=1000000',
  'PRAGMA soft_heap_limit=1000',
  'PRAGMA writable_schema=ON',
  'PRAGMA schema_version=7',
  'PRAGMA journal_size_limit=0',
  'PRAGMA secure_delete=ON',
  'PRAGMA encoding="UTF-16"',
  'PRAGMA auto_vacuum=1',
  'PRAGMA incremental_vacuum(5)',
  'PRAGMA trusted_schema=OFF',
  'PRAGMA case_sensitive_like=ON',
  'PRAGMA ignore_check_constraints=ON',
  'PRAGMA threads=64',
  'PRAGMA shrink_memory',
  'PRAGMA analysis_limit=1',
  'PRAGMA optimize',
  'PRAGMA integrity_check',
  'PRAGMA locking_mode',
  'PRAGMA delete_database',
  "VACUUM INTO 'x'",
  'VACUUM',
  'REINDEX',
  'ANALYZE',
  "ATTACH '' AS a",
  "ATTACH 'a' || 'b' AS a",
  "SELECT load_extension('x')",
  'SELECT zeroblob(2147483647)',
  'SELECT zeroblob(900000000)',
  'SELECT randomblob(300000000) || randomblob(300000000)',
  'SELECT abs(-9223372036854775808)',
  'SELECT ?40000',
  'SELECT ?99999999',
  "SELECT printf('%.*c', 400000000, 'x')",
  "SELECT 'a' LIKE '%' || replace(hex(zeroblob(24000)), '0', '%a')",
  `SELECT ${'('.repeat(5000)}1${')'.repeat(5000)}`,
  `SELECT ${'-'.repeat(20000)} 1`,
  `SELECT 1${' UNION ALL SELECT 1'.repeat(600)}`,
  `SELECT * FROM ${Array.from({ length: 70 }, (_, i) => `(SELECT 1) t${i}`).join()}`,
  `CREATE TABLE wide (${Array.from({ length: 2001 }, (_, i) => `c${i}`).join()})`,
  'BEGIN; BEGIN; COMMIT; COMMIT; ROLLBACK',
  'SAVEPOINT a; SAVEPOINT b; RELEASE c; ROLLBACK TO a',
  ';;;;;;',
  `/*${'*'.repeat(100000)}`,
  'CREATE VIRTUAL TABLE f USING fts5(x)',
  'CREATE VIRTUAL TABLE f USING nonsense(x)',
  'SELECT * FROM dbstat',
  'CREATE TEMP TABLE t AS SELECT 1',
  'EXPLAIN SELECT 1',
  'DETACH main',
].map((sql) => ({
  ...session(
    sql.length > 60 ? `${sql.slice(0, 60)}...` : sql,
    [sql, `?${sql}`, '?SELECT 1 AS one'],
    'ROWS ["one"] (1:1) done',
  ),
}));

const databaseEnds: readonly HostileInput[] = [
  session(
    'PRAGMA delete_database outside a transaction',
    ['PRAGMA delete_database'],
    /^FAILURE 1 "PRAGMA delete_database must be run in a write transaction/,
  ),
  session(
    'a write after PRAGMA delete_database',
    [
      'CREATE TABLE t (v)',
      'BEGIN IMMEDIATE',
      'PRAGMA delete_database',
      'COMMIT',
      'CREATE TABLE t (w)',
      '?SELECT count(*) FROM t',
    ],
    'ROWS ["count(*)"] (1:0) done',
  ),
  session(
    'a schema table written by hand',
    [
      'CREATE TABLE t (v)',
      'PRAGMA writable_schema=ON',
      "UPDATE sqlite_schema SET sql='nonsense', rootpage=99",
      'PRAGMA writable_schema=RESET',
      '?SELECT 1 AS one',
    ],
    /^(ROWS|FAILURE)/,
  ),
];

const width = 800;
const names: readonly HostileInput[] = [
  session(
    'column names of more than a batch',
    [`?SELECT ${Array.from({ length: width }, (_, i) => `${i} AS name${i}`).join()}`],
    /^ROWS .* done$/,
  ),
];

/** SQL that strains the engine or the page store. */
export const sqlInputs: readonly HostileInput[] = [
  ...columns,
  ...returning,
  ...refused,
  ...harmless,
  ...databaseEnds,
  ...names,
];
