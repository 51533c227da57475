import { type ErrorName, WireError } from '../base/errors.ts';
import type { Frame } from './framer.ts';
import { type Kind, nameText, optional, text, textBytes, uint32, uint64 } from './kinds.ts';
import { parameters } from './parameters.ts';
import { type AnyMessageOf, codecOf, type MessageOf } from './table.ts';

/** Longest name that can be opened. */
export const maxNameBytes = 504;

const openedName: Kind<string> = {
  ...nameText,
  name: `text (${maxNameBytes} bytes at most)`,
  read(from, schema) {
    const name = nameText.read(from, schema);
    if (name.length > maxNameBytes) throw new WireError(`a name of ${name.length} bytes`);
    return name;
  },
};

/** What clients ask. A field that the server has to judge (a format, a role) is the bare number they sent. */
export const requestTable = {
  leader: { type: 0, schemas: [0], doc: 'Which server leads?', fields: { unused: uint64 } },
  client: { type: 1, schemas: [0], doc: 'Registers a client id.', fields: { id: uint64 } },
  open: {
    type: 3,
    schemas: [0],
    doc: 'Opens the database of this connection; flags and VFS name are ignored.',
    fields: { filename: openedName, flags: uint64, vfs: text },
  },
  prepare: {
    type: 4,
    schemas: [0, 1],
    doc: 'Compiles a statement. Schema 1 allows further statements behind it and is told where they start.',
    fields: { database: uint64, sql: textBytes },
  },
  exec: {
    type: 5,
    schemas: [0, 1],
    doc: 'Runs a prepared statement that yields no rows.',
    fields: { database: uint32, statement: uint32, parameters },
  },
  query: {
    type: 6,
    schemas: [0, 1],
    doc: 'Runs a prepared statement that yields rows.',
    fields: { database: uint32, statement: uint32, parameters },
  },
  finalize: {
    type: 7,
    schemas: [0],
    doc: 'Frees a prepared statement.',
    fields: { database: uint32, statement: uint32 },
  },
  execSql: {
    type: 8,
    schemas: [0, 1],
    doc: 'Runs all statements of a text; parameters are used up from left to right.',
    fields: { database: uint64, sql: textBytes, parameters },
  },
  querySql: {
    type: 9,
    schemas: [0, 1],
    doc: 'Runs the only statement of a text and yields its rows.',
    fields: { database: uint64, sql: textBytes, parameters },
  },
  interrupt: {
    type: 10,
    schemas: [0],
    doc: 'Ends a query early.',
    fields: { database: uint64 },
  },
  connect: {
    type: 11,
    schemas: [0],
    doc: 'Another server introduces itself: its messages follow on this connection.',
    fields: { id: uint64, address: text },
  },
  add: {
    type: 12,
    schemas: [0],
    doc: 'Adds a server to the cluster, as a spare.',
    fields: { id: uint64, address: text },
  },
  assign: {
    type: 13,
    schemas: [0],
    doc: 'Changes the role of a server; without a role it becomes a voter.',
    fields: { id: uint64, role: optional(uint64) },
  },
  remove: {
    type: 14,
    schemas: [0],
    doc: 'Removes a server from the cluster.',
    fields: { id: uint64 },
  },
  dump: {
    type: 15,
    schemas: [0],
    doc: 'Reads the image of a database from this server.',
    fields: { filename: nameText },
  },
  cluster: {
    type: 16,
    schemas: [0],
    doc: 'Lists the servers; format 1 with their roles, format 0 without.',
    fields: { format: uint64 },
  },
  transfer: {
    type: 17,
    schemas: [0],
    doc: 'Hands leadership to a server; 0 lets this server choose.',
    fields: { id: uint64 },
  },
  describe: {
    type: 18,
    schemas: [0],
    doc: 'Failure domain and weight of this server. The only format is 0.',
    fields: { format: uint64 },
  },
  weight: {
    type: 19,
    schemas: [0],
    doc: 'Sets the weight of this server.',
    fields: { weight: uint64 },
  },
} as const;

/** Types that were requests once: answered like types that never were. */
export const retiredRequestTable = {
  heartbeat: {
    type: 2,
    schemas: [0],
    doc: 'Kept a connection alive. No client has sent it since 1.0.',
    fields: { timestamp: uint64 },
  },
} as const;

/** Documents them. */
export const retiredRequests = codecOf(retiredRequestTable);

/** Any request, discriminated by `kind`. */
export type Request = AnyMessageOf<typeof requestTable>;

/** The request of one kind. */
export type RequestOf<K extends Request['kind']> = MessageOf<typeof requestTable, K>;

/** Writes, reads and documents requests. */
export const requests = codecOf(requestTable);

/** A message that is no request of this protocol: answer with this failure, the connection stays usable. */
export interface UnrecognizedRequest {
  readonly kind: 'unrecognized';
  readonly error: ErrorName;
}

const unrecognizedType: UnrecognizedRequest = { kind: 'unrecognized', error: 'unrecognizedType' };
const unrecognizedSchema: UnrecognizedRequest = {
  kind: 'unrecognized',
  error: 'unrecognizedSchema',
};
const unrecognizedSqlSchema: UnrecognizedRequest = {
  kind: 'unrecognized',
  error: 'unrecognizedSqlSchema',
};

/** Types with more than one schema: for them the schema's refusal has another code. */
const typesWithSchemas: ReadonlySet<number> = new Set(
  Object.values(requestTable)
    .filter((row) => row.schemas.length > 1)
    .map((row) => row.type),
);

/**
 * The request in a message. Byte fields are views of the message's body.
 * @throws WireError when the body is not such a request: close the connection.
 */
export function decodeRequest(frame: Frame): Request | UnrecognizedRequest {
  const request = requests.decode(frame.type, frame.schema, frame.body);
  if (request !== undefined) return request;
  if (!requests.hasType(frame.type)) return unrecognizedType;
  return typesWithSchemas.has(frame.type) ? unrecognizedSqlSchema : unrecognizedSchema;
}

/** One handler for each kind: a missing or misspelt one is a compile error. */
export type RequestHandlers<Result = void> = {
  readonly [K in Request['kind']]: (request: RequestOf<K>) => Result;
};
