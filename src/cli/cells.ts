import type { Value } from '../protocol/values.ts';
import type { Json } from './json.ts';

/** Whether a value is shown as NULL: the protocol sends NULL in a date column as empty text. */
export function isNull(value: Value): boolean {
  return value.type === 'null' || (value.type === 'iso8601' && value.value === '');
}

/** A value as people and CSV readers see it; NULL is the caller's business. */
export function textOf(value: Value): string {
  switch (value.type) {
    case 'null':
      return '';
    case 'integer':
    case 'unixTime':
    case 'boolean':
      return String(value.value);
    case 'float':
      return floatText(value.value);
    case 'text':
    case 'iso8601':
      return value.value;
    case 'blob':
      return `x'${Buffer.from(value.value).toString('hex')}'`;
  }
}

/**
 * A value in JSON: integers with all their digits, booleans from BOOLEAN columns that hold 0 or 1, blobs in
 * base64, dates as they are stored.
 */
export function jsonOf(value: Value): Json {
  if (isNull(value)) return null;
  switch (value.type) {
    case 'blob':
      return Buffer.from(value.value).toString('base64');
    case 'boolean':
      return value.value === 0n || value.value === 1n ? value.value === 1n : value.value;
    case 'null':
      return null;
    default:
      return value.value;
  }
}

/** Like SQLite: a real number always shows that it is one. */
function floatText(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? 'Inf' : '-Inf';
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
}
