import { assert } from '../../base/assert.ts';
import { resultCode } from '../../vfs/sqlite-codes.ts';
import type { SqliteBuild } from './build.ts';

// Structures of SQLite's C interface, as 32-bit words: https://www.sqlite.org/c3ref/vfs.html and io_methods.html.

const ioMethodsWords = [
  'iVersion',
  'xClose',
  'xRead',
  'xWrite',
  'xTruncate',
  'xSync',
  'xFileSize',
  'xLock',
  'xUnlock',
  'xCheckReservedLock',
  'xFileControl',
  'xSectorSize',
  'xDeviceCharacteristics',
] as const;

const vfsWords = [
  'iVersion',
  'szOsFile',
  'mxPathname',
  'pNext',
  'zName',
  'pAppData',
  'xOpen',
  'xDelete',
  'xAccess',
  'xFullPathname',
  'xDlOpen',
  'xDlError',
  'xDlSym',
  'xDlClose',
  'xRandomness',
  'xSleep',
  'xCurrentTime',
  'xGetLastError',
  'xCurrentTimeInt64',
] as const;

type Words = Readonly<Record<string, number>>;

/** Length of `sqlite3_io_methods`, version 1. */
export const ioMethodsBytes = 4 * ioMethodsWords.length;

/** Bytes of a database's name: SQLite adds up to 8 for the names of its journals. */
const longestName = 512;

/**
 * Makes the callbacks at `pointers` SQLite's only file system. The ones that came with the build are unregistered:
 * nothing can name them any more.
 */
export function registerVfs(build: SqliteBuild, pointers: Words, ioMethods: number): void {
  const { api, memory } = build;
  fill(build, ioMethods, ioMethodsWords, { ...pointers, iVersion: 1 });
  const vfs = memory.allocate(4 * vfsWords.length);
  fill(build, vfs, vfsWords, {
    ...pointers,
    iVersion: 2,
    // Room for the pointer to the methods; the rest of a file is kept outside.
    szOsFile: 8,
    mxPathname: longestName,
    zName: memory.permanentCString('pages'),
  });
  let other = api.sqlite3_vfs_find(0);
  while (other !== 0) {
    api.sqlite3_vfs_unregister(other);
    other = api.sqlite3_vfs_find(0);
  }
  const code = api.sqlite3_vfs_register(vfs, 1);
  assert(code === resultCode.ok, 'SQLite takes the file system');
}

function fill(build: SqliteBuild, struct: number, words: readonly string[], values: Words): void {
  for (const [i, word] of words.entries()) {
    build.memory.writeInt32(struct + 4 * i, values[word] ?? 0);
  }
}
