import type { Value } from '../protocol/values.ts';
import { ClientError } from './errors.ts';

/** What may be bound to a `?`. Numbers without a fraction are bound as integers; undefined is NULL. */
export type Parameter = null | undefined | boolean | number | bigint | string | Date | Uint8Array;

/**
 * What a column holds. Columns declared DATE, DATETIME or TIMESTAMP give a Date (the text itself when it is no
 * date), those declared BOOLEAN a boolean; NULL in a BOOLEAN column reads false, as the protocol cannot tell.
 */
export type ColumnValue = null | boolean | number | bigint | string | Date | Uint8Array;

/** How integers come back: `mixed` as numbers where that is exact, else as bigints; or always as bigints. */
export type Integers = 'mixed' | 'bigint';

/** The wire value of a parameter. @throws ClientError `misuse` for what cannot be bound */
export function toWire(parameter: Parameter): Value {
  if (parameter === null || parameter === undefined) return { type: 'null' };
  if (typeof parameter === 'string') return { type: 'text', value: parameter };
  if (typeof parameter === 'bigint') return integer(parameter);
  if (typeof parameter === 'boolean') return { type: 'boolean', value: parameter ? 1n : 0n };
  if (typeof parameter === 'number') {
    return Number.isSafeInteger(parameter)
      ? integer(BigInt(parameter))
      : { type: 'float', value: parameter };
  }
  if (parameter instanceof Date) return { type: 'iso8601', value: isoText(parameter) };
  if (parameter instanceof Uint8Array) return { type: 'blob', value: parameter };
  throw new ClientError('misuse', `a ${typeof parameter} cannot be a parameter`);
}

/** The JavaScript value of a wire value. */
export function fromWire(value: Value, integers: Integers): ColumnValue {
  switch (value.type) {
    case 'null':
      return null;
    case 'integer':
      return integers === 'mixed' && isSafe(value.value) ? Number(value.value) : value.value;
    case 'float':
    case 'text':
    case 'blob':
      return value.value;
    case 'boolean':
      return value.value !== 0n;
    case 'unixTime':
      return new Date(Number(value.value) * 1000);
    case 'iso8601':
      return value.value === '' ? null : dateOf(value.value);
  }
}

function integer(value: bigint): Value {
  if (BigInt.asIntN(64, value) === value) return { type: 'integer', value };
  throw new ClientError('misuse', `${value} does not fit into 64 bits`);
}

function isSafe(value: bigint): boolean {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
}

/** As Go clients write times, so that both read what the other wrote: `2006-01-02 15:04:05.123+00:00`. */
function isoText(date: Date): string {
  if (Number.isNaN(date.getTime())) throw new ClientError('misuse', 'an invalid date');
  return date.toISOString().replace('T', ' ').replace('Z', '+00:00');
}

/** Without a zone SQLite's times are UTC. */
function dateOf(text: string): Date | string {
  const match =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?)?$/.exec(text);
  if (match === null) return text;
  const date = new Date(`${match[1]}T${match[2] ?? '00:00'}${match[3] ?? 'Z'}`);
  return Number.isNaN(date.getTime()) ? text : date;
}
