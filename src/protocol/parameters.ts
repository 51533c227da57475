import { assert } from '../base/assert.ts';
import { WireError } from '../base/errors.ts';
import { blob, float64, int64, type Kind, uint64 } from './kinds.ts';
import {
  readValue,
  sampleValue,
  type Value,
  type ValueType,
  valueCode,
  valueTable,
  writeValue,
} from './values.ts';
import { padded, Reader, Writer } from './words.ts';

/** The parameters of a request: the list of types is whole, the values were not looked at yet. */
export interface Parameters {
  /** One code of `valueTable` for each parameter. */
  readonly types: Uint8Array;
  /** The values back to back; words that belong to nothing may follow. */
  readonly values: Uint8Array;
}

/** Where bound values go: a prepared statement. Indexes count from 1. */
export interface ParameterSink {
  bindInteger(index: number, value: bigint): void;
  bindFloat(index: number, value: number): void;
  /** UTF-8 bytes, not checked; valid during the call. */
  bindText(index: number, value: Uint8Array): void;
  bindBlob(index: number, value: Uint8Array): void;
  bindNull(index: number): void;
}

/** Most parameters that a request of schema 0 can carry. */
export const maxParametersOfSchema0 = 255;

/** No parameters. */
export const noParameters: Parameters = { types: new Uint8Array(0), values: new Uint8Array(0) };

/** The types that clients send, in the order of `valueTable`. */
const parameterTypes: readonly ValueType[] = (Object.keys(valueTable) as ValueType[]).filter(
  (type) => valueTable[type].parameter !== 'refused',
);

/**
 * The last field of EXEC, QUERY, EXEC_SQL and QUERY_SQL, which may be absent: the number of parameters (one byte
 * in schema 0, four in schema 1), a byte for the type of each, padding of any content, the values. Only the types are
 * read here: values that make no sense are a failure of the request, not of the connection.
 */
export const parameters: Kind<Parameters> = {
  name: '[parameters]',
  write(to, { types, values }, schema) {
    if (types.length === 0) return;
    assert(schema > 0 || types.length <= maxParametersOfSchema0, 'schema 0 counts up to 255');
    const countBytes = schema === 0 ? 1 : 4;
    const at = to.takePadded(countBytes + types.length);
    to.bytes.writeUIntLE(types.length, at, countBytes);
    to.bytes.set(types, at + countBytes);
    const valuesAt = to.takePadded(values.length);
    to.bytes.set(values, valuesAt);
  },
  read(from, schema) {
    if (from.remaining === 0) return noParameters;
    const countBytes = schema === 0 ? 1 : 4;
    const count = from.bytes.readUIntLE(from.take(countBytes), countBytes);
    if (count > from.remaining) throw new WireError(`types of ${count} parameters missing`);
    const types = from.takeBytes(count);
    from.take(padded(countBytes + count) - countBytes - count);
    return { types, values: from.takeRest() };
  },
  sample: (random) =>
    encodeParameters(
      Array.from({ length: random.int(0, 12) }, () => sampleValue(random, parameterTypes)),
    ),
};

/** Hands parameters to statements, from left to right, as many as each statement wants. */
export class ParameterCursor {
  readonly #types: Uint8Array;
  readonly #values: Reader;
  #next = 0;

  constructor(source: Parameters) {
    this.#types = source.types;
    this.#values = new Reader(asBuffer(source.values));
  }

  /** How many parameters no statement has taken. */
  get remaining(): number {
    return this.#types.length - this.#next;
  }

  /**
   * Binds the next parameters to the indexes 1, 2, … of `sink`: `count` of them, or fewer when no more are left.
   * False when a value is of a type that no parameter has, or is not whole; others may be bound by then. What `sink`
   * throws passes through.
   */
  bind(sink: ParameterSink, count: number): boolean {
    const end = Math.min(this.#next + count, this.#types.length);
    try {
      for (let index = 1; this.#next < end; index++) {
        const code = this.#types[this.#next] ?? 0;
        if (!bindOne(sink, index, code, this.#values)) return false;
        this.#next++;
      }
      return true;
    } catch (error) {
      if (error instanceof WireError) return false;
      throw error;
    }
  }
}

/** Parameters for a request. More than 255 of them need a request of schema 1. */
export function encodeParameters(values: readonly Value[]): Parameters {
  const to = new Writer(16 * values.length);
  for (const value of values) writeValue(to, value);
  return {
    types: Uint8Array.from(values, ({ type }) => valueTable[type].code),
    values: to.takeBytes(),
  };
}

/**
 * The values of parameters, for tools and tests.
 * @throws WireError where `ParameterCursor.bind` returns false, but for `unixTime`
 */
export function decodeParameters({ types, values }: Parameters): Value[] {
  const from = new Reader(asBuffer(values));
  return Array.from(types, (code) => readValue(from, code));
}

function bindOne(sink: ParameterSink, index: number, code: number, from: Reader): boolean {
  switch (code) {
    case valueCode.integer:
      sink.bindInteger(index, int64.read(from, 0));
      return true;
    case valueCode.float:
      sink.bindFloat(index, float64.read(from, 0));
      return true;
    case valueCode.text:
    case valueCode.iso8601:
      sink.bindText(index, from.takeText());
      return true;
    case valueCode.blob:
      sink.bindBlob(index, blob.read(from, 0));
      return true;
    case valueCode.null:
      from.take(8);
      sink.bindNull(index);
      return true;
    case valueCode.boolean:
      sink.bindInteger(index, uint64.read(from, 0) === 0n ? 0n : 1n);
      return true;
    default:
      return false;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  if (bytes instanceof Buffer) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
