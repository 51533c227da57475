import type { Random } from '../../src/base/random.ts';

/**
 * SQL on which two SQLite versions, and servers of 1.11 and 1.18, agree: no texts or functions that changed, values that
 * every column type can travel with.
 */
const grammar: Readonly<Record<string, readonly string[]>> = {
  write: [
    'INSERT INTO {table} VALUES ({value}, {value}, {value})',
    'INSERT INTO {table} VALUES ({value}, {value}, {value}), ({value}, {value}, {value})',
    'INSERT INTO {table}(y) VALUES ({expression})',
    'INSERT OR REPLACE INTO {table} VALUES ({expression}, {expression}, {value})',
    'INSERT OR IGNORE INTO {table} SELECT z, y, x FROM {table}',
    'UPDATE {table} SET {column} = {expression} WHERE {condition}',
    'UPDATE {table} SET y = y + 1',
    'DELETE FROM {table} WHERE {condition}',
    'INSERT INTO typed VALUES ({integer}, {moment}, {moment})',
    'UPDATE typed SET b = {integer}, d = {moment} WHERE {integer} = b',
    'DELETE FROM typed WHERE b = {integer}',
    'REPLACE INTO kept VALUES ({integer}, {value})',
    'INSERT INTO kept VALUES ({integer}, {value}) ON CONFLICT (id) DO UPDATE SET v = excluded.v',
    'INSERT INTO child VALUES ({integer}, {integer})',
    'DELETE FROM kept WHERE id = {integer}',
    'WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM s LIMIT 40) INSERT INTO t SELECT n, n * 2, {value} FROM s',
    'INSERT INTO counted VALUES ({integer}, {integer}) ON CONFLICT (k) DO UPDATE SET n = n + excluded.n WHERE n < 20',
    'INSERT INTO counted VALUES ({integer}, {integer}) ON CONFLICT DO NOTHING',
    'UPDATE counted SET n = n + 1 FROM (SELECT {integer} AS i) AS o WHERE k = o.i',
    'INSERT INTO strict_ones VALUES ({value}, {value}, {value})',
    'UPDATE strict_ones SET b = {value} WHERE i = {integer}',
    'INSERT INTO v VALUES ({integer}, {integer})',
    'INSERT INTO {table}(x) VALUES ({big}), ({big})',
    'UPDATE {table} SET y = zeroblob({integer} * 900) WHERE {condition}',
    'INSERT INTO t VALUES ({value}, 1, 1); UPDATE u SET x = {integer} WHERE {condition}; DELETE FROM t WHERE y = {integer}',
    'INSERT INTO kept VALUES ({integer}, {value}); INSERT INTO kept VALUES ({integer}, 7); DELETE FROM kept',
    'BEGIN; INSERT INTO t VALUES ({value}, {value}, {value}); COMMIT',
    'SAVEPOINT a; DELETE FROM t; ROLLBACK TO a; INSERT INTO t(x) VALUES ({big}); RELEASE a',
  ],
  schema: [
    'CREATE TABLE extra (x, y, z)',
    'DROP TABLE extra',
    'CREATE INDEX {table}_{column} ON {table} ({column})',
    'DROP INDEX {table}_{column}',
    'CREATE VIEW v AS SELECT x, count(*) AS n FROM t GROUP BY x',
    'DROP VIEW v',
    'CREATE TRIGGER r AFTER INSERT ON u BEGIN INSERT INTO t VALUES (new.x, new.y, new.z); END',
    'DROP TRIGGER r',
    'ALTER TABLE extra RENAME TO other',
    'DROP TABLE other',
    'VACUUM',
    'PRAGMA user_version={integer}',
    'PRAGMA foreign_keys={integer}',
    'CREATE UNIQUE INDEX counted_n ON counted (n) WHERE n > 5',
    'CREATE INDEX t_typeof ON t (typeof(x), y)',
    "CREATE TRIGGER audit AFTER UPDATE ON counted WHEN new.n > 3 BEGIN INSERT INTO t VALUES (old.n, new.n, old.k); SELECT RAISE(ABORT, 'too much') WHERE new.n > 15; END",
    'CREATE TRIGGER instead INSTEAD OF INSERT ON v BEGIN INSERT INTO t(x, z) VALUES (new.x, new.n); END',
    'DROP TRIGGER instead',
    'REINDEX',
    'PRAGMA application_id={integer}',
    'PRAGMA recursive_triggers={integer}',
    'PRAGMA case_sensitive_like={integer}',
    'PRAGMA cache_size=-{integer}000',
    'CREATE TABLE bad (x, x)',
    'CREATE TABLE t (x)',
    'INSERT INTO absent VALUES (1)',
    'nonsense {integer}',
  ],
  control: [
    'BEGIN',
    'BEGIN',
    'BEGIN IMMEDIATE',
    'COMMIT',
    'COMMIT',
    'COMMIT',
    'ROLLBACK',
    'SAVEPOINT s',
    'RELEASE s',
    'ROLLBACK TO s',
  ],
  read: [
    'SELECT * FROM {table}',
    'SELECT {expression} AS e, {column} FROM {table} WHERE {condition} ORDER BY rowid',
    'SELECT count(*), sum(rowid), min({column}), max({column}), count(DISTINCT x) FROM {table}',
    'SELECT a.x, b.y FROM t a JOIN u b ON a.x = b.x ORDER BY a.rowid, b.rowid LIMIT 50',
    'SELECT x, count(*) FROM {table} GROUP BY x HAVING count(*) > 1 ORDER BY 1, 2',
    'SELECT * FROM typed',
    'SELECT b, d, e FROM (SELECT * FROM typed) WHERE d IS NOT NULL UNION ALL SELECT b, e, d FROM typed',
    'SELECT * FROM kept ORDER BY id',
    'SELECT * FROM child ORDER BY rowid',
    'SELECT {expression} AS one, {expression} AS two',
    'SELECT row_number() OVER (ORDER BY rowid) AS n, {column} FROM {table}',
    'SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name',
    'SELECT * FROM v',
    'WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM s LIMIT 700) SELECT n, {value} AS v FROM s',
    'PRAGMA user_version',
    'PRAGMA foreign_keys',
    'PRAGMA table_info({table})',
    'PRAGMA index_list({table})',
    'PRAGMA journal_mode',
    'PRAGMA page_size',
    'PRAGMA integrity_check',
    'PRAGMA foreign_key_check',
    'SELECT * FROM absent',
    'SELECT * FROM counted ORDER BY k',
    'SELECT i, r, b FROM strict_ones ORDER BY rowid',
    'SELECT x FROM scratch',
    'SELECT x FROM side.s',
    'SELECT x, typeof(x) AS t, length(x) AS n FROM t WHERE typeof(x) = {kind} ORDER BY rowid',
    'SELECT last_insert_rowid() AS id',
    'SELECT {big} AS big, -({big}) AS negative, {big} % 7 AS rest',
    'SELECT group_concat(x, {value}) AS g FROM (SELECT * FROM {table} ORDER BY rowid)',
    'SELECT x FROM t EXCEPT SELECT x FROM u ORDER BY 1',
    'SELECT t.x AS a, u.x AS b FROM t LEFT JOIN u ON t.x = u.x ORDER BY t.rowid, u.rowid LIMIT 20',
    "SELECT datetime({integer} * 86400, 'unixepoch') AS d, strftime('%Y', '2026-0{integer}-01') AS y",
    "SELECT json_extract('[1,{\"a\":2},null]', '$[1].a') AS j, json_array({integer}, 'x') AS l",
    'SELECT x, sum(rowid) OVER (PARTITION BY typeof(x) ORDER BY rowid) AS s FROM t ORDER BY rowid',
    'PRAGMA application_id',
    'PRAGMA recursive_triggers',
    'PRAGMA table_xinfo(counted)',
    'PRAGMA index_info(counted_n)',
    'PRAGMA foreign_key_list(child)',
    'PRAGMA encoding',
    'SELECT name FROM pragma_table_info({kind})',
    'SELECT count(*) AS n FROM t WHERE x = abs(-9223372036854775807 - {integer})',
    'SELECT nonsense({integer})',
    'SELECT max(1, 2',
    'SELECT * FROM t WHERE no_column = 1',
  ],
  big: ['4611686018427387904', '9223372036854775807', '4294967296', '-9007199254740993', '1'],
  kind: ["'integer'", "'real'", "'text'", "'blob'", "'null'", "'t'"],
  table: ['t', 't', 'u', 'extra'],
  column: ['x', 'y', 'z'],
  value: [
    'NULL',
    '{integer}',
    '{integer}',
    "'text'",
    "''",
    "'it''s'",
    '1.5',
    '-0.25',
    "x'00ff10'",
    "x''",
    '9223372036854775807',
    '-9223372036854775808',
    "'é😀'",
  ],
  integer: ['0', '1', '2', '3', '7'],
  moment: ['NULL', '1700000000', '0', "'2026-01-02 03:04:05'", "'2026-01-02'"],
  condition: [
    '{column} = {value}',
    '{column} IS NULL',
    '{column} > {value}',
    '{column} IN ({value}, {value})',
    "z LIKE 't%'",
    'rowid % 2 = {integer}',
    'x BETWEEN {integer} AND {value}',
    'EXISTS (SELECT 1 FROM u WHERE u.x = {integer})',
  ],
  expression: [
    '{value}',
    '{column}',
    '{value} + {integer}',
    '{value} || {value}',
    'typeof({value})',
    'length({value})',
    'quote({value})',
    'hex({value})',
    'coalesce({value}, {value})',
    'nullif({value}, {value})',
    'abs({integer} - 5)',
    "upper({value}) || lower('ABC')",
    "substr('abcdef', {integer}, 2)",
    "replace('banana', 'a', {value})",
    'CASE WHEN {value} THEN {value} ELSE {value} END',
    'CAST({value} AS INTEGER)',
    'CAST({value} AS TEXT)',
    'max({value}, {value})',
    "date('2026-01-31', '+{integer} month')",
    '{value} IS {value}',
    '{integer} / {integer}',
    '(SELECT count(*) FROM u)',
  ],
};

/** The tables that a session starts with. */
export const schema = [
  'CREATE TABLE t (x INTEGER, y, z TEXT)',
  'CREATE TABLE u (x, y REAL UNIQUE, z BLOB NOT NULL)',
  'CREATE TABLE typed (b BOOLEAN, d DATETIME, e TIMESTAMP)',
  'CREATE TABLE kept (id INTEGER PRIMARY KEY AUTOINCREMENT, v CHECK (v IS NOT 7))',
  'CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES kept(id))',
  'CREATE TABLE counted (k INTEGER PRIMARY KEY, n INTEGER NOT NULL, twice AS (n * 2)) WITHOUT ROWID',
  'CREATE TABLE strict_ones (i INTEGER, r REAL, b BLOB) STRICT',
  'CREATE TABLE extra (x, y, z)',
] as const;

/**
 * What every connection has for itself. Filled before anything else: here a statement that writes waits for its turn even
 * when only temporary tables change, as in 1.18; in 1.11 nothing waits.
 */
export const ownTables = [
  'CREATE TEMP TABLE scratch (x)',
  "INSERT INTO scratch VALUES (1), (NULL), (x'00ff'), ('text')",
  "ATTACH '' AS side",
  'CREATE TABLE side.s (x PRIMARY KEY)',
  'INSERT INTO side.s SELECT x FROM scratch WHERE x IS NOT NULL',
] as const;

/**
 * What every connection of a session prepares at its start, with the number of its parameters: used over and over, across
 * changes of the schema. No `SELECT *`: which columns it has after one is an intended difference.
 */
export const preparedStatements: readonly (readonly [sql: string, parameters: number])[] = [
  ['INSERT INTO t VALUES (?, ?, ?)', 3],
  ['INSERT INTO extra(x, z) VALUES (?, ?)', 2],
  ['UPDATE u SET y = ? WHERE x = ?', 2],
  ['DELETE FROM extra WHERE x = ?', 1],
  ['REPLACE INTO kept VALUES (?, ?)', 2],
  ['SELECT x, z FROM extra WHERE x IS NOT ?', 1],
  ['SELECT x, y, z FROM t WHERE x = ? OR y IS ?', 2],
  ['SELECT ? AS a, typeof(?) AS b, quote(?) AS c', 3],
  ['SELECT b, d FROM typed WHERE b IS NOT ?', 1],
];

export type SqlKind = 'write' | 'schema' | 'control' | 'read' | 'value';

/** One random text of a kind. */
export function sqlOf(kind: SqlKind, random: Random): string {
  return expanded(`{${kind}}`, random);
}

function expanded(template: string, random: Random): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, rule: string) => {
    const alternatives = grammar[rule] ?? [];
    return expanded(alternatives[random.int(0, alternatives.length - 1)] ?? '', random);
  });
}
