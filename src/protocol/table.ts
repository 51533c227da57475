import { assert } from '../base/assert.ts';
import type { Random } from '../base/random.ts';
import type { Kind } from './kinds.ts';
import { Reader, type Writer, wordBytes } from './words.ts';

/** One row of a message table: the only description of that message in the code base. */
export interface Row {
  /** Byte 4 of the message header. */
  readonly type: number;
  /** The values of byte 5 that this row describes. */
  readonly schemas: readonly number[];
  /** For docs/wire-protocol.md. */
  readonly doc: string;
  // biome-ignore lint/suspicious/noExplicitAny: a row may hold fields of any kind
  readonly fields: { readonly [field: string]: Kind<any> };
}

type ValueOf<K> = K extends Kind<infer T> ? T : never;
type FieldsOf<R extends Row> = { readonly [F in keyof R['fields']]: ValueOf<R['fields'][F]> };
/** A message says its schema only when its row leaves a choice. */
type SchemaOf<R extends Row> = R['schemas'] extends readonly [number]
  ? unknown
  : { readonly schema: R['schemas'][number] };

/** The message that row `N` of table `T` describes: `{ kind: 'open', filename: string, … }`. */
export type MessageOf<T, N extends keyof T> = T[N] extends Row
  ? { readonly kind: N } & SchemaOf<T[N]> & FieldsOf<T[N]>
  : never;

/** The union of all messages of a table, discriminated by `kind`. */
export type AnyMessageOf<T> = { [N in keyof T]: MessageOf<T, N> }[keyof T];

/** What a message table can do. `M` is the union of its messages. */
export interface Codec<M extends { readonly kind: PropertyKey }> {
  /** Appends header and body as clients and servers exchange them. */
  write(to: Writer, message: M): void;
  /** Appends the body only, for messages with a header of another kind. */
  writeBody(to: Writer, message: M): void;
  /** Type of the messages of one kind. */
  typeOf(kind: M['kind']): number;
  /** Whether any row has this type. */
  hasType(type: number): boolean;
  /**
   * The message with this type and schema, or undefined when the table has no such row. Words beyond the last
   * field are ignored. Byte fields are views of `body`.
   * @throws WireError when the body is not such a message.
   */
  decode(type: number, schema: number, body: Buffer): M | undefined;
  /** The same, from a reader that then stands behind the last field. */
  read(type: number, schema: number, from: Reader): M | undefined;
  /** A made-up message, the same for the same random numbers. */
  sample(kind: M['kind'], random: Random): M;
  /** Markdown table for docs/wire-protocol.md. */
  describe(): string;
}

interface Plan {
  readonly kind: string;
  readonly row: Row;
  readonly fields: readonly (readonly [string, Kind<unknown>])[];
}

/** Types, encoder, decoder, samples and documentation of a message table. */
export function codecOf<const T extends Record<string, Row>>(table: T): Codec<AnyMessageOf<T>> {
  type M = AnyMessageOf<T> & { readonly kind: keyof T & string };
  const byKind = new Map<string, Plan>();
  const byTag = new Map<number, Plan>();
  const types = new Set<number>();
  for (const [kind, row] of Object.entries(table)) {
    const plan = { kind, row, fields: Object.entries(row.fields) };
    byKind.set(kind, plan);
    types.add(row.type);
    for (const schema of row.schemas) {
      assert(!byTag.has(tagOf(row.type, schema)), `two rows for ${row.type}/${schema}`);
      byTag.set(tagOf(row.type, schema), plan);
    }
  }
  const planOf = (kind: PropertyKey): Plan => {
    const plan = byKind.get(kind as string);
    assert(plan !== undefined, `no message named ${String(kind)}`);
    return plan;
  };
  const read = (type: number, schema: number, from: Reader): M | undefined => {
    const plan = byTag.get(tagOf(type, schema));
    return plan === undefined ? undefined : (readFields(plan, schema, from) as M);
  };
  return {
    write(to, message) {
      const plan = planOf((message as M).kind);
      const fields = message as Record<string, unknown>;
      const schema = schemaOf(plan, fields);
      const start = to.length;
      startMessage(to, plan.row.type, schema);
      writeFields(to, plan, schema, fields);
      endMessage(to, start);
    },
    writeBody(to, message) {
      const plan = planOf((message as M).kind);
      const fields = message as Record<string, unknown>;
      writeFields(to, plan, schemaOf(plan, fields), fields);
    },
    typeOf: (kind) => planOf(kind).row.type,
    hasType: (type) => types.has(type),
    decode: (type, schema, body) => read(type, schema, new Reader(body)),
    read,
    sample: (kind, random) => sampleMessage(planOf(kind), random) as M,
    describe: () => describeTable(table),
  };
}

function tagOf(type: number, schema: number): number {
  return type * 256 + schema;
}

function schemaOf({ row }: Plan, message: Record<string, unknown>): number {
  const [first = 0, ...others] = row.schemas;
  return others.length === 0 ? first : (message.schema as number);
}

function writeFields(
  to: Writer,
  plan: Plan,
  schema: number,
  message: Record<string, unknown>,
): void {
  for (const [field, kind] of plan.fields) kind.write(to, message[field], schema);
}

function readFields(plan: Plan, schema: number, from: Reader): Record<string, unknown> {
  const message: Record<string, unknown> = { kind: plan.kind };
  if (plan.row.schemas.length > 1) message.schema = schema;
  for (const [field, kind] of plan.fields) message[field] = kind.read(from, schema);
  return message;
}

function sampleMessage(plan: Plan, random: Random): Record<string, unknown> {
  const { schemas } = plan.row;
  const schema = schemas[random.int(0, schemas.length - 1)] ?? 0;
  const message: Record<string, unknown> = { kind: plan.kind };
  if (schemas.length > 1) message.schema = schema;
  for (const [field, kind] of plan.fields) message[field] = kind.sample(random, schema);
  return message;
}

/** Appends a message header whose length `endMessage` fills in. */
export function startMessage(to: Writer, type: number, schema: number): void {
  const at = to.take(wordBytes);
  to.bytes.writeUInt32LE(0, at);
  to.bytes.writeUInt32LE(type | (schema << 8), at + 4);
}

/** Writes the length of the message that starts at position `start` (`Writer.length` before its header). */
export function endMessage(to: Writer, start: number): void {
  const bodyBytes = to.length - start - wordBytes;
  assert(bodyBytes % wordBytes === 0, 'a message is a whole number of words');
  to.patchUint32(start, bodyBytes / wordBytes);
}

function describeTable(table: Record<string, Row>): string {
  const withSchemas = Object.values(table).some(({ schemas }) => schemas.some((n) => n > 0));
  const lines = Object.entries(table).map(([kind, { type, schemas, doc, fields }]) => {
    const body = Object.entries(fields).map(([field, { name }]) => `${name} ${field}`);
    const cells = [`\`${kind}\``, body.join('; '), doc];
    if (withSchemas) cells.unshift(schemas.join(', '));
    return `| ${[type, ...cells].join(' | ')} |`;
  });
  const heads = ['type', ...(withSchemas ? ['schema'] : []), 'message', 'body', 'meaning'];
  return [`| ${heads.join(' | ')} |`, `|${'---|'.repeat(heads.length)}`, ...lines].join('\n');
}
