import { pageBytes } from '../protocol/commands.ts';

// Page 1 begins with the database header (https://www.sqlite.org/fileformat2.html#the_database_header).

/** Page that holds the bytes SQLite locks in a file (at 1 GiB): it never has content. */
export const lockPage = 0x4000_0000 / pageBytes + 1;

const writeVersionAt = 18;
const readVersionAt = 19;
const changeCounterAt = 24;
const pageCountAt = 28;
const schemaCookieAt = 40;
const versionValidForAt = 92;
const libraryVersionAt = 96;
/** Length of the header's part that holds everything above. */
const headerBytes = 100;

/** Format version of a database in WAL mode: what C servers store, ship and expect. */
const walFormat = 2;
/** Format version of a database with a rollback journal: what SQLite is shown here. */
const rollbackFormat = 1;

/** An empty database, byte for byte what `PRAGMA journal_mode=WAL` leaves in a new file. */
export function emptyDatabasePage(): Buffer {
  const page = Buffer.alloc(pageBytes);
  page.write('SQLite format 3\0', 0, 'latin1');
  page.writeUInt16BE(pageBytes, 16);
  page[writeVersionAt] = walFormat;
  page[readVersionAt] = walFormat;
  // Payload fractions: fixed by the file format.
  page.set([64, 32, 32], 21);
  page.writeUInt32BE(1, changeCounterAt);
  page.writeUInt32BE(1, pageCountAt);
  page.writeUInt32BE(1, versionValidForAt);
  page.writeUInt32BE(3_040_001, libraryVersionAt);
  // An empty table b-tree leaf whose cells would begin at the end of the page.
  page[headerBytes] = 0x0d;
  page.writeUInt16BE(pageBytes, headerBytes + 5);
  return page;
}

/** Page 1 of the transaction that deletes a database: an empty one of size 0, shipped alone. */
export function deletedDatabasePage(): Buffer {
  const page = emptyDatabasePage();
  page.writeUInt32BE(0, pageCountAt);
  return page;
}

/** Size of the database in pages that this page 1 claims. */
export function claimedPageCount(pageOne: Uint8Array): number {
  return word(pageOne, pageCountAt);
}

/** The number that changes with the schema. */
export function schemaCookieOf(pageOne: Uint8Array): number {
  return word(pageOne, schemaCookieAt);
}

/** What is stored and shipped says WAL mode, whatever SQLite wrote. */
export function stampWalFormat(pageOne: Uint8Array): void {
  pageOne[writeVersionAt] = walFormat;
  pageOne[readVersionAt] = walFormat;
}

/**
 * Takes the fields that every rollback-mode transaction changes over from the version before. Page 1 then
 * equals that one unless the transaction really changed it, and images are the same on all servers.
 */
export function freezeCounters(pageOne: Uint8Array, previous: Uint8Array): void {
  for (let at = changeCounterAt; at < pageCountAt; at++) pageOne[at] = previous[at] ?? 0;
  for (let at = versionValidForAt; at < headerBytes; at++) pageOne[at] = previous[at] ?? 0;
}

/**
 * Changes bytes `from` to `from + length` of page 1, which were copied to `target` at `pointer`, into what
 * SQLite may see: a rollback-journal database with this change counter.
 *
 * `counter` is undefined for a page that the reader itself wrote: it carries its own counter.
 */
export function presentToSqlite(
  target: Uint8Array,
  pointer: number,
  from: number,
  length: number,
  counter: number | undefined,
): void {
  const base = pointer - from;
  const end = from + length;
  if (from <= writeVersionAt && end > readVersionAt) {
    target[base + writeVersionAt] = rollbackFormat;
    target[base + readVersionAt] = rollbackFormat;
  }
  if (counter === undefined) return;
  if (from <= changeCounterAt && end >= changeCounterAt + 4) {
    putWord(target, base + changeCounterAt, counter);
  }
  if (from <= versionValidForAt && end >= versionValidForAt + 4) {
    putWord(target, base + versionValidForAt, counter);
  }
}

function word(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

function putWord(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}
