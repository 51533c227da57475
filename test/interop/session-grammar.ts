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
  ],
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
] as const;

export type SqlKind = 'write' | 'schema' | 'control' | 'read';

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
