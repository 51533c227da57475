import type { Random } from '../../src/base/random.ts';

type Rule = readonly string[];

/** A small grammar: `{name}` is replaced by one of the alternatives of that rule. */
const grammar: Readonly<Record<string, Rule>> = {
  statement: [
    'CREATE TABLE IF NOT EXISTS {table} ({column} {type}, {column}2 {type})',
    'CREATE TABLE IF NOT EXISTS {table} (x {type}, y {type})',
    'CREATE TABLE IF NOT EXISTS {table} (x {type}, y {type})',
    'CREATE TABLE IF NOT EXISTS {table} ({column} {type} PRIMARY KEY, {column}2 {type} UNIQUE)',
    'CREATE INDEX IF NOT EXISTS {column}_i ON {table} ({column})',
    'DROP TABLE IF EXISTS {table}',
    'ALTER TABLE {table} ADD COLUMN extra {type}',
    'INSERT INTO {table} VALUES ({expression}, {expression})',
    'INSERT INTO {table} VALUES ({expression}, {expression}) RETURNING *',
    'INSERT INTO {table} SELECT {expression}, {expression} FROM {rows}',
    'UPDATE {table} SET {column} = {expression} WHERE {expression}',
    'DELETE FROM {table} WHERE {expression}',
    'DELETE FROM {table}',
    'SELECT {expression}, * FROM {table} LIMIT 300',
    'SELECT {expression} FROM {rows}',
    'SELECT {expression}',
    'SELECT * FROM {table} a JOIN {table} b LIMIT 500',
    'BEGIN',
    'BEGIN IMMEDIATE',
    'COMMIT',
    'ROLLBACK',
    'SAVEPOINT s',
    'ROLLBACK TO s',
    'RELEASE s',
    'VACUUM',
    'ANALYZE',
    'PRAGMA {pragma}',
    "ATTACH '{table}' AS a",
    '{statement}; {statement}',
    '{statement} garbage',
    '/* {statement} */',
    '',
  ],
  table: ['a', 'b', 'c'],
  column: ['x', 'y'],
  type: ['', 'INTEGER', 'TEXT', 'REAL', 'BLOB', 'BOOLEAN', 'DATETIME', 'DATE', 'TIMESTAMP'],
  expression: [
    '{value}',
    '{value}',
    '{column}',
    '{expression} + {expression}',
    '{expression} || {expression}',
    'abs({value})',
    'length({expression})',
    'zeroblob({size})',
    "printf('%{size}d', 1)",
    'randomblob({size})',
    'CASE WHEN {value} THEN {value} ELSE abs(-9223372036854775808) END',
    'CAST({value} AS {type})',
    '(SELECT count(*) FROM {table})',
    '?',
    '?3',
    ':n',
  ],
  value: [
    'NULL',
    '0',
    '1',
    '-1',
    '1.5',
    "'text'",
    "''",
    "x'00ff'",
    '9223372036854775807',
    '1e999',
    "'2026-01-01'",
  ],
  size: ['0', '1', '100', '4000', '9000'],
  rows: [
    '(WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT 50) SELECT x, x AS y FROM s)',
    '(WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT 1000) SELECT x, x AS y FROM s)',
    '{table}',
  ],
  pragma: [
    'journal_mode=DELETE',
    'journal_mode',
    'integrity_check',
    'delete_database',
    'foreign_keys=OFF',
    'user_version=7',
    'table_info(a)',
    'cache_size=1',
    'auto_vacuum=2',
    'incremental_vacuum',
    'page_size=512',
    'writable_schema=ON',
    'recursive_triggers=1',
    'schema_version=9',
    'locking_mode=EXCLUSIVE',
  ],
};

const MAXIMUM_DEPTH = 5;

/** One random text of the grammar. */
export function randomSql(random: Random): string {
  return expanded('{statement}', random, 0);
}

function expanded(template: string, random: Random, depth: number): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, rule: string) => {
    const alternatives = grammar[rule] ?? [];
    const chosen = alternatives[random.int(0, alternatives.length - 1)] ?? '';
    return depth >= MAXIMUM_DEPTH ? '1' : expanded(chosen, random, depth + 1);
  });
}
