import type { Clock } from '../base/clock.ts';
import { WireError } from '../base/errors.ts';
import { type Page, pageBytes } from '../protocol/commands.ts';
import { wordBytes } from '../protocol/words.ts';
import type { Database } from '../vfs/database.ts';
import { ByteStream } from './byte-stream.ts';
import { nextTurn } from './next-turn.ts';
import { snapshotFormat } from './snapshot-writer.ts';

/** Pages applied between two turns of the event loop: well under a millisecond. */
const pagesPerSlice = 64;

/** Longest name in a snapshot; clients' names are shorter (the OPEN request allows 504 bytes). */
const maxNameBytes = 4096;

/**
 * Writes the content of a snapshot (format: snapshot-writer.ts) over the databases that `open` gives and returns
 * those it holds. Servers up to 1.16 put the pages that were not checkpointed behind the image, as an SQLite
 * write-ahead log (sqlite.org/fileformat2.html, section 4): its transactions are applied on top. Holds one slice
 * or one transaction beside the databases. When it rejects, databases are left half overwritten.
 * @throws WireError when the bytes are no such content
 */
export async function restoreDatabases(
  chunks: AsyncIterable<Uint8Array>,
  open: (name: string) => Database,
  clock: Clock,
): Promise<Set<Database>> {
  const stream = new ByteStream(chunks);
  try {
    const format = await stream.takeCount();
    if (format !== snapshotFormat) throw new WireError(`snapshot format ${format} is unknown`);
    const count = await stream.takeCount();
    const databases = new Set<Database>();
    for (let i = 0; i < count; i++) {
      const database = open(await takeName(stream));
      const imageBytes = await stream.takeCount();
      const walBytes = await stream.takeCount();
      await restoreImage(stream, imageBytes, database, clock);
      await restoreWal(stream, walBytes, database, clock);
      databases.add(database);
    }
    return databases;
  } finally {
    await stream.close();
  }
}

async function takeName(stream: ByteStream): Promise<string> {
  const words: Buffer[] = [];
  for (let size = 0; size < maxNameBytes; size += wordBytes) {
    const word = Buffer.from(await stream.take(wordBytes));
    words.push(word);
    if (word.includes(0)) {
      const bytes = Buffer.concat(words);
      return bytes.toString('latin1', 0, bytes.indexOf(0));
    }
  }
  throw new WireError('a database name in a snapshot is too long');
}

async function restoreImage(
  stream: ByteStream,
  sizeBytes: number,
  database: Database,
  clock: Clock,
): Promise<void> {
  if (sizeBytes % pageBytes !== 0) throw new WireError('a database image with part of a page');
  const pageCount = sizeBytes / pageBytes;
  for (let first = 1; first <= pageCount; first += pagesPerSlice) {
    const count = Math.min(pagesPerSlice, pageCount - first + 1);
    const slice = await stream.take(count * pageBytes);
    const pages: Page[] = [];
    for (let i = 0; i < count; i++) {
      pages.push({
        number: first + i,
        content: slice.subarray(i * pageBytes, (i + 1) * pageBytes),
      });
    }
    if (first === 1) checkPageCount(slice, pageCount);
    database.applyRemote(pages);
    await nextTurn(clock);
  }
}

/** The first page says how long the database is; 0 there, alone, is a deleted database. */
function checkPageCount(firstPage: Buffer, pageCount: number): void {
  const said = firstPage.readUInt32BE(28);
  if (said === pageCount || (said === 0 && pageCount === 1)) return;
  throw new WireError(`a database image of ${pageCount} pages that says it has ${said}`);
}

const walHeaderBytes = 32;
const frameHeaderBytes = 24;

async function restoreWal(
  stream: ByteStream,
  sizeBytes: number,
  database: Database,
  clock: Clock,
): Promise<void> {
  if (sizeBytes === 0) return;
  const header = await stream.take(walHeaderBytes);
  if (header.readUInt32BE(8) !== pageBytes) throw new WireError('a WAL with another page size');
  const frames = (sizeBytes - walHeaderBytes) / (frameHeaderBytes + pageBytes);
  if (!Number.isInteger(frames)) throw new WireError('a WAL with part of a frame');
  // A page may come more than once in a transaction: the last one holds.
  let transaction = new Map<number, Page>();
  for (let i = 0; i < frames; i++) {
    const frame = await stream.take(frameHeaderBytes + pageBytes);
    const number = frame.readUInt32BE(0);
    const pageCountAfter = frame.readUInt32BE(4);
    if (number === 0) throw new WireError('a WAL frame of page 0');
    transaction.set(number, { number, content: Buffer.from(frame.subarray(frameHeaderBytes)) });
    if (pageCountAfter !== 0) {
      database.applyRemote([...transaction.values()]);
      transaction = new Map();
    }
    if (i % pagesPerSlice === 0) await nextTurn(clock);
  }
}
