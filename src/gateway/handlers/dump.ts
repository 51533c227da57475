import { DqliteError } from '../../base/errors.ts';
import { pageBytes } from '../../protocol/commands.ts';
import { count64, nameText } from '../../protocol/kinds.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import { responseTable } from '../../protocol/responses.ts';
import { padded, wordBytes } from '../../protocol/words.ts';
import { sliceOf } from '../../sql/snapshot-writer.ts';
import type { Image } from '../../vfs/database.ts';
import type { Session } from '../session.ts';
import type { Steps } from '../task.ts';

/** Longest body that the header of a message can announce. */
const maxBodyBytes = 0xffff_ffff * wordBytes;

/**
 * The committed image of a database, as this server has it, and an empty write-ahead log. The pages are pinned and
 * sent as the client takes them: no copy of the image is made.
 */
export function* dump(session: Session, { filename }: RequestOf<'dump'>): Steps {
  const { machine } = session.gateway;
  if (machine.restoring) throw DqliteError.of('busy');
  const replica = machine.replicas.get(filename);
  if (replica === undefined) throw DqliteError.of('databaseNotFound');
  const image = replica.database.pinCommitted();
  try {
    writeHead(session, filename, image);
    for (let first = 1; first <= image.pageCount; ) {
      const slice = sliceOf(image, first);
      session.send(slice);
      first += slice.length / pageBytes;
      yield* session.betweenBatches(undefined);
    }
  } catch (error) {
    // In the middle of a message nothing else can be said.
    if (error instanceof DqliteError) session.end();
    else throw error;
  } finally {
    image.release();
  }
  writeTail(session, filename);
}

function writeHead(session: Session, name: string, image: Image): void {
  const imageBytes = image.pageCount * pageBytes;
  const bodyBytes = wordBytes + sizeOfEntry(name) + imageBytes + sizeOfEntry(walName(name));
  if (bodyBytes > maxBodyBytes) throw DqliteError.of('executeFailed');
  const { writer } = session;
  const at = writer.take(wordBytes);
  writer.bytes.writeUInt32LE(bodyBytes / wordBytes, at);
  writer.bytes.writeUInt32LE(responseTable.files.type, at + 4);
  count64.write(writer, 2, 0);
  nameText.write(writer, name, 0);
  count64.write(writer, imageBytes, 0);
}

function writeTail(session: Session, name: string): void {
  nameText.write(session.writer, walName(name), 0);
  count64.write(session.writer, 0, 0);
}

function walName(name: string): string {
  return `${name}-wal`;
}

/** A name and a size. */
function sizeOfEntry(name: string): number {
  return padded(name.length + 1) + wordBytes;
}
