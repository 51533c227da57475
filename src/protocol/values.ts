import { WireError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { blob, float64, int64, type Kind, text, uint64 } from './kinds.ts';
import type { Reader, Writer } from './words.ts';

/** The word of a NULL; what is in it does not matter. */
const nullWord: Kind<bigint> = { ...uint64, name: 'one word, zero' };

interface ValueRow {
  readonly code: number;
  readonly payload: Kind<bigint> | Kind<number> | Kind<string> | Kind<Uint8Array>;
  /** What a parameter of this type is bound as. */
  readonly parameter: string;
  /** When a row holds it. */
  readonly row: string;
}

/** The types of values in parameters and rows. */
export const valueTable = {
  integer: {
    code: 1,
    payload: int64,
    parameter: 'integer',
    row: 'INTEGER, unless 9 or 11',
  },
  float: { code: 2, payload: float64, parameter: 'float', row: 'REAL' },
  text: { code: 3, payload: text, parameter: 'text', row: 'TEXT, unless 10' },
  blob: { code: 4, payload: blob, parameter: 'blob', row: 'BLOB' },
  null: { code: 5, payload: nullWord, parameter: 'NULL', row: 'NULL, unless 10 or 11' },
  unixTime: {
    code: 9,
    payload: int64,
    parameter: 'refused',
    row: 'INTEGER in a column declared DATE, DATETIME or TIMESTAMP',
  },
  iso8601: {
    code: 10,
    payload: text,
    parameter: 'text',
    row: 'TEXT, or NULL as an empty text, in such a column',
  },
  boolean: {
    code: 11,
    payload: int64,
    parameter: 'integer, 1 for any value but 0',
    row: 'INTEGER, unchanged, or NULL as 0, in a column declared BOOLEAN',
  },
} as const satisfies Record<string, ValueRow>;

/** Names one type of value. */
export type ValueType = keyof typeof valueTable;

type PayloadOf<N extends ValueType> =
  (typeof valueTable)[N]['payload'] extends Kind<infer T> ? T : never;

/**
 * A value as it is on the wire. `unixTime` counts seconds since 1970; `boolean` in rows is whatever integer the
 * column holds.
 */
export type Value =
  | { readonly type: 'null' }
  | {
      [N in Exclude<ValueType, 'null'>]: { readonly type: N; readonly value: PayloadOf<N> };
    }[Exclude<ValueType, 'null'>];

const typeOfCode: readonly (ValueType | undefined)[] = byCode();

/** Code of each type, for code that writes values without making objects of them. */
export const valueCode = {
  integer: valueTable.integer.code,
  float: valueTable.float.code,
  text: valueTable.text.code,
  blob: valueTable.blob.code,
  null: valueTable.null.code,
  unixTime: valueTable.unixTime.code,
  iso8601: valueTable.iso8601.code,
  boolean: valueTable.boolean.code,
} as const;

/** Appends the payload of a value; its code is in a header of the tuple. */
export function writeValue(to: Writer, value: Value): void {
  const payload: Kind<unknown> = valueTable[value.type].payload as Kind<unknown>;
  payload.write(to, value.type === 'null' ? 0n : value.value, 0);
}

/** @throws WireError when there is no such code or the payload is not whole */
export function readValue(from: Reader, code: number): Value {
  const type = typeOfCode[code];
  if (type === undefined) throw new WireError(`no type of value has the code ${code}`);
  const value = valueTable[type].payload.read(from, 0);
  return type === 'null' ? { type } : ({ type, value } as Value);
}

/** A made-up value of any of the `types`. */
export function sampleValue(random: Random, types: readonly ValueType[]): Value {
  const type = types[random.int(0, types.length - 1)] ?? 'null';
  const value = valueTable[type].payload.sample(random, 0);
  return type === 'null' ? { type } : ({ type, value } as Value);
}

/** Markdown table for docs/wire-protocol.md. */
export function describeValues(): string {
  const lines = Object.entries(valueTable).map(
    ([name, { code, payload, parameter, row }]) =>
      `| ${code} | ${name} | ${payload.name} | ${parameter} | ${row} |`,
  );
  return [
    '| code | type | payload | as a parameter | in rows |',
    '|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

function byCode(): (ValueType | undefined)[] {
  const types: (ValueType | undefined)[] = [];
  for (const [name, { code }] of Object.entries(valueTable)) types[code] = name as ValueType;
  return types;
}
