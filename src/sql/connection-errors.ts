import { DqliteError } from '../base/errors.ts';
import { resultCode } from '../vfs/sqlite-codes.ts';

/** SQLITE_NOMEM, in SQLite's own words. */
export function outOfMemory(): DqliteError {
  return DqliteError.fromSqlite(resultCode.noMemory, 'out of memory');
}

/** SQLITE_RANGE, in SQLite's own words. */
export function outOfRange(): DqliteError {
  return DqliteError.fromSqlite(resultCode.range, 'column index out of range');
}

/** What SQLite's parser says when its stack is full. */
export function tooDeep(): DqliteError {
  return DqliteError.fromSqlite(resultCode.error, 'parser stack overflow');
}
