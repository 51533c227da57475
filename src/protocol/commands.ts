import { assert } from '../base/assert.ts';
import { WireError } from '../base/errors.ts';
import { type Kind, nameText, uint32, uint64 } from './kinds.ts';
import { type AnyMessageOf, codecOf } from './table.ts';
import { padded, type Reader, Writer, wordBytes } from './words.ts';

/** Bytes of every page of every database. */
export const pageBytes = 4096;

/** Highest page number: SQLite keeps it in a signed 32-bit integer. */
export const maxPageNumber = 0x7fff_ffff;

/** One page of a database. */
export interface Page {
  /** Counts from 1. */
  readonly number: number;
  /** `pageBytes` of them. */
  readonly content: Uint8Array;
}

/** Whether a frames command ends its transaction; other bytes of the word are zero. */
const commitFlag: Kind<boolean> = {
  name: 'uint32',
  write(to, value) {
    uint32.write(to, value ? 1 : 0, 0);
  },
  read: (from) => (uint32.read(from, 0) & 0xff) !== 0,
  sample: (random) => random.int(0, 1) === 1,
};

const pages: Kind<readonly Page[]> = {
  name: 'uint32 n; uint32 page size (4096); n × uint64 page number; n × page',
  write(to, values) {
    uint32.write(to, values.length, 0);
    uint32.write(to, pageBytes, 0);
    const numbersAt = to.take(values.length * wordBytes);
    for (const [i, { number }] of values.entries()) {
      to.bytes.writeUInt32LE(number, numbersAt + i * wordBytes);
      to.bytes.writeUInt32LE(0, numbersAt + i * wordBytes + 4);
    }
    for (const { content } of values) {
      assert(content.length === pageBytes, 'a page is 4096 bytes');
      const at = to.take(pageBytes);
      to.bytes.set(content, at);
    }
  },
  read: readPages,
  sample: (random) =>
    Array.from({ length: random.int(0, 3) }, () => ({
      number: random.int(1, maxPageNumber),
      content: Buffer.alloc(pageBytes, random.int(0, 255)),
    })),
};

/** What entries of type `command` tell the state machine. Names are as `nameText` has them. */
export const commandTable = {
  open: {
    type: 1,
    schemas: [0],
    doc: 'A database was opened. Has no effect.',
    fields: { name: nameText },
  },
  frames: {
    type: 2,
    schemas: [0],
    doc: 'The pages of one transaction, in the order in which it wrote them. The database is created when needed. `transaction` and `truncate` are 0, `commit` is 1.',
    fields: { name: nameText, transaction: uint64, truncate: uint32, commit: commitFlag, pages },
  },
  undo: {
    type: 3,
    schemas: [0],
    doc: 'Forgets frames without `commit`. Has no effect, since none are accepted.',
    fields: { transaction: uint64 },
  },
  checkpoint: {
    type: 4,
    schemas: [0],
    doc: 'The write-ahead log was checkpointed. Has no effect.',
    fields: { name: nameText },
  },
} as const;

/** Any command, discriminated by `kind`. Pages are views of the entry. */
export type Command = AnyMessageOf<typeof commandTable>;

/** Writes, reads and documents the bodies of commands. */
export const commands = codecOf(commandTable);

const format = 1;

/** Gives memory for so many bytes, which belong to the caller. */
export type Allocate = (size: number) => Buffer;

/** The command that replicates one transaction. Pages are copied into it, once. */
export function encodeFrames(
  name: string,
  transactionPages: readonly Page[],
  allocate: Allocate = Buffer.allocUnsafeSlow,
): Buffer {
  const pages = transactionPages;
  return encodeCommand(
    { kind: 'frames', name, transaction: 0n, truncate: 0, commit: true, pages },
    allocate,
  );
}

/** Any command as bytes: a whole number of words. */
export function encodeCommand(
  command: Command,
  allocate: Allocate = Buffer.allocUnsafeSlow,
): Buffer {
  const to = Writer.into(allocate(sizeOf(command)));
  const at = to.take(wordBytes);
  to.bytes.writeUInt32LE(format | (commands.typeOf(command.kind) << 8), at);
  to.bytes.writeUInt32LE(0, at + 4);
  commands.writeBody(to, command);
  return to.takeBytes();
}

/**
 * The command in the data of an entry.
 * @throws WireError when it is none, or has pages that no database can have
 */
export function decodeCommand(data: Buffer): Command {
  if (data.length < wordBytes) throw new WireError('command is cut off');
  const [formatByte = 0, type = 0] = data;
  if (formatByte !== format) throw new WireError(`command of format ${formatByte}`);
  const command = commands.decode(type, 0, data.subarray(wordBytes));
  if (command === undefined) throw new WireError(`command of type ${type}`);
  return command;
}

function sizeOf(command: Command): number {
  if (command.kind === 'undo') return 2 * wordBytes;
  const nameEnd = wordBytes + padded(command.name.length + 1);
  if (command.kind !== 'frames') return nameEnd;
  return nameEnd + 3 * wordBytes + command.pages.length * (wordBytes + pageBytes);
}

function readPages(from: Reader): readonly Page[] {
  const count = uint32.read(from, 0);
  const size = uint32.read(from, 0) & 0xffff;
  if (size !== pageBytes) throw new WireError(`pages of ${size} bytes`);
  if (from.remaining !== count * (wordBytes + pageBytes)) {
    throw new WireError(`${count} pages in ${from.remaining} bytes`);
  }
  const numbers = from.takeBytes(count * wordBytes);
  const result: Page[] = [];
  for (let i = 0; i < count; i++) {
    const number = numbers.readUInt32LE(i * wordBytes);
    const high = numbers.readUInt32LE(i * wordBytes + 4);
    if (high !== 0 || number === 0 || number > maxPageNumber) {
      throw new WireError('a page number out of range');
    }
    result.push({ number, content: from.takeBytes(pageBytes) });
  }
  return result;
}
