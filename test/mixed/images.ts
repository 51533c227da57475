import { execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { dumpFiles } from '../../src/client/dump.ts';
import { ClientError } from '../../src/client/errors.ts';

const execute = promisify(execFile);

/** What one server holds of one database, as SQLite's own command line program sees it. */
interface Image {
  /** The database file with its write-ahead log written into it. */
  readonly bytes: Buffer;
  /** The answer to `PRAGMA integrity_check`. */
  readonly integrity: string;
  /** The answer to a query. */
  readonly answer: string;
}

const PAGE_BYTES = 4096;
const PAGE_COUNT_OFFSET = 28;
/** A C leader whose snapshot got lost sends it again after 30 s. */
const DEADLINE_MS = 45_000;
const PAUSE_MS = 50;

/**
 * The image of a database at one server; why there is none yet. C 1.11 sends a database file and its
 * write-ahead log: SQLite merges them, nothing here does.
 */
async function imageAt(address: string, database: string, query: string): Promise<Image | string> {
  const directory = await mkdtemp(join(tmpdir(), 'dqlited-image-'));
  const path = join(directory, 'image');
  try {
    const sizes = await dumpTo(path, address, database);
    if (sizes.every((size) => size === 0)) return 'there is no such database';
    const sql = `PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check; ${query}`;
    const [, integrity = '', ...answer] = (await outputOf(path, sql)).trimEnd().split('\n');
    return { bytes: used(await readFile(path)), integrity, answer: answer.join('\n') };
  } catch (error) {
    // A server that has not heard of the database yet, or is loading a snapshot, will.
    if (error instanceof ClientError && error.code !== 'protocol') return error.message;
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What sqlite3 prints; the message when it fails (a table that is not there yet). */
async function outputOf(path: string, sql: string): Promise<string> {
  const { stdout, stderr } = await execute('sqlite3', [path, sql]).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return stdout + stderr;
}

/**
 * The one mask: pages beyond the size in the header are left out. C 1.11 does not shrink its files when VACUUM did,
 * so such pages hold what they held before.
 */
function used(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.readUInt32BE(PAGE_COUNT_OFFSET) * PAGE_BYTES);
}

async function dumpTo(path: string, address: string, database: string): Promise<number[]> {
  const sizes: number[] = [];
  const signal = AbortSignal.timeout(DEADLINE_MS);
  for await (const { sizeBytes, chunks } of dumpFiles(address, database, signal)) {
    const file = await open(sizes.length === 0 ? path : `${path}-wal`, 'w');
    for await (const chunk of chunks) await file.write(chunk);
    await file.close();
    sizes.push(sizeBytes);
  }
  return sizes;
}

/**
 * Waits until all servers hold byte for byte the same image, intact and with the answer that is expected.
 * Returns what is wrong in the end: nothing.
 */
export async function disagreements(
  addresses: readonly string[],
  database: string,
  query: string,
  expected: string,
): Promise<string[]> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const images = await Promise.all(addresses.map((address) => imageAt(address, database, query)));
    const wrong = images.flatMap((image, i) => {
      return complaints(image, images[0], expected).map((what) => {
        return `${database} at ${addresses[i]}: ${what}`;
      });
    });
    if (wrong.length === 0 || performance.now() > deadline) return wrong;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

function complaints(
  image: Image | string,
  first: Image | string | undefined,
  expected: string,
): string[] {
  if (typeof image === 'string') return [image];
  const wrong: string[] = [];
  if (image.integrity !== 'ok') wrong.push(`integrity_check: ${image.integrity}`);
  if (image.answer !== expected) wrong.push(`${image.answer} instead of ${expected}`);
  if (typeof first === 'object') wrong.push(...differences(image.bytes, first.bytes));
  return wrong;
}

/** Where two images differ: sizes, and the first bytes of it. */
function differences(a: Buffer, b: Buffer): string[] {
  if (a.equals(b)) return [];
  if (a.length !== b.length) return [`${a.length} bytes instead of ${b.length}`];
  const at = a.findIndex((byte, i) => byte !== b[i]);
  const [page, offset] = [Math.floor(at / PAGE_BYTES) + 1, at % PAGE_BYTES];
  const hex = (bytes: Buffer) => bytes.subarray(at, at + 16).toString('hex');
  return [`page ${page} from byte ${offset}: ${hex(a)} instead of ${hex(b)}`];
}
