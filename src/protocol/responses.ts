import { assert } from '../base/assert.ts';
import type { Frame } from './framer.ts';
import { blob, count64, int64, listOf, nameText, structOf, text, uint32, uint64 } from './kinds.ts';
import { clientRole } from './roles.ts';
import { rowBatch, rowsType } from './rows.ts';
import { type AnyMessageOf, codecOf, type MessageOf, startMessage } from './table.ts';
import { Writer, wordBytes } from './words.ts';

/** What servers answer. */
export const responseTable = {
  failure: {
    type: 0,
    schemas: [0],
    doc: 'The request was not carried out (docs/errors.md).',
    fields: { code: count64, message: text },
  },
  server: {
    type: 1,
    schemas: [0],
    doc: 'The leader; id 0 and an empty address when this server knows none.',
    fields: { id: uint64, address: text },
  },
  welcome: {
    type: 2,
    schemas: [0],
    doc: 'Answers CLIENT. The timeout is not enforced.',
    fields: { heartbeatTimeoutMs: count64 },
  },
  servers: {
    type: 3,
    schemas: [0],
    doc: 'The servers in the order in which they were added (format 1).',
    fields: { servers: listOf(structOf({ id: uint64, address: text, role: clientRole })) },
  },
  database: {
    type: 4,
    schemas: [0],
    doc: 'Answers OPEN. The id is always 0.',
    fields: { database: uint32, unused: uint32 },
  },
  statement: {
    type: 5,
    schemas: [0],
    doc: 'Answers PREPARE of schema 0.',
    fields: { database: uint32, statement: uint32, parameterCount: count64 },
  },
  statementWithTail: {
    type: 5,
    schemas: [1],
    doc: 'Answers PREPARE of schema 1: `tail` is the offset of the first byte of SQL that was not compiled.',
    fields: { database: uint32, statement: uint32, parameterCount: count64, tail: count64 },
  },
  result: {
    type: 6,
    schemas: [0],
    doc: 'Answers EXEC and EXEC_SQL with the last inserted rowid and the number of changed rows.',
    fields: { lastInsertId: int64, rowsAffected: uint64 },
  },
  rows: {
    type: rowsType,
    schemas: [0],
    doc: 'One batch of rows; more batches follow until the marker says done.',
    fields: { batch: rowBatch },
  },
  empty: {
    type: 8,
    schemas: [0],
    doc: 'Carried out; there is nothing to tell.',
    fields: { unused: uint64 },
  },
  files: {
    type: 9,
    schemas: [0],
    doc: 'Answers DUMP: the database image and an empty write-ahead log.',
    fields: { files: listOf(structOf({ name: nameText, content: blob })) },
  },
  metadata: {
    type: 10,
    schemas: [0],
    doc: 'Answers DESCRIBE.',
    fields: { failureDomain: uint64, weight: uint64 },
  },
} as const;

/** Older forms of two responses. Only who asked can tell them from the current ones. */
export const olderResponseTable = {
  serverAddress: {
    type: 1,
    schemas: [0],
    doc: 'The leader, on a connection that began with the legacy handshake.',
    fields: { address: text },
  },
  serverAddresses: {
    type: 3,
    schemas: [0],
    doc: 'The servers without their roles (format 0).',
    fields: { servers: listOf(structOf({ id: uint64, address: text })) },
  },
} as const;

/** Any response in its current form, discriminated by `kind`. */
export type Response = AnyMessageOf<typeof responseTable>;

/** The response of one kind. */
export type ResponseOf<K extends Response['kind']> = MessageOf<typeof responseTable, K>;

/** A response in an older form. */
export type OlderResponse = AnyMessageOf<typeof olderResponseTable>;

/** Writes, reads and documents responses. */
export const responses = codecOf(responseTable);

/** The same for the older forms. */
export const olderResponses = codecOf(olderResponseTable);

/**
 * The response in a message, or undefined when it is of no known type and schema.
 * @throws WireError when the body is not such a response.
 */
export function decodeResponse(frame: Frame): Response | undefined {
  return responses.decode(frame.type, frame.schema, frame.body);
}

/**
 * FILES for images that are not held in one buffer: the bytes that go before the content of each file, the message
 * header among them. Sizes are multiples of 8.
 */
export function filesHeads(
  files: readonly { readonly name: string; readonly sizeBytes: number }[],
): Buffer[] {
  const heads = files.map(({ name, sizeBytes }, i) => {
    assert(sizeBytes % wordBytes === 0, 'files are whole words');
    const to = new Writer(name.length + 5 * wordBytes);
    if (i === 0) {
      startMessage(to, responseTable.files.type, 0);
      count64.write(to, files.length, 0);
    }
    nameText.write(to, name, 0);
    count64.write(to, sizeBytes, 0);
    return to.takeBytes();
  });
  let size = -wordBytes;
  for (const [i, head] of heads.entries()) size += head.length + (files[i]?.sizeBytes ?? 0);
  heads[0]?.writeUInt32LE(size / wordBytes, 0);
  return heads;
}
