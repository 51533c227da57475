/** What `toJson` prints. Absent (undefined) members are left out. */
export type Json =
  | null
  | undefined
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/**
 * JSON text in which integers of any size are plain number tokens with all their digits. Readers that hold
 * numbers as doubles must read those beyond 2^53 with a parser for big integers.
 */
export function toJson(value: Json, indent = ''): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return numberToken(value);
  if (typeof value !== 'object') return JSON.stringify(value);
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => `${inner}${toJson(item, inner)}`);
    return items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n${indent}]`;
  }
  const members = Object.entries(value as { readonly [key: string]: Json })
    .filter(([, member]) => member !== undefined)
    .map(([key, member]) => `${inner}${JSON.stringify(key)}: ${toJson(member, inner)}`);
  return members.length === 0 ? '{}' : `{\n${members.join(',\n')}\n${indent}}`;
}

/** JSON has no infinities: a token too large for a double reads as one. */
function numberToken(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? '9e999' : '-9e999';
}
