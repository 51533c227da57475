import type { SqliteBuild } from './build.ts';

/**
 * Where SQLite keeps a value: the first fields of its `Mem` (sqlite.org/src, vdbeInt.h). Reading a row from memory
 * spares several calls into the instance for each column. No public interface promises this layout: it is looked for
 * in each instance, and where it is not found values are asked for one by one.
 */
export const valueLayout = {
  /** An integer or a float. */
  numberAt: 0,
  pointerAt: 8,
  lengthAt: 12,
  flagsAt: 16,
  encodingAt: 18,
} as const;

/** Bits of the flags that say what a value is. A value with several of them is left to SQLite. */
export const valueFlag = { null: 1, text: 2, integer: 4, float: 8, blob: 16 } as const;
/** All bits that say what a value is, and the one of a blob that ends in zeros which are not there yet. */
export const valueFlagMask = 0x3f | 0x400;
export const utf8Encoding = 1;

/** One row in which every field of the layout shows. */
export const layoutProbe = "SELECT 81985529216486895, -2.5, 'four', x'0102030405', NULL";

/**
 * Bytes from the value of one column to the next, where the row of `layoutProbe` lies in memory as expected; 0 when
 * it does not.
 */
export function strideOfValues({ api, memory }: SqliteBuild, statement: number): number {
  const first = api.sqlite3_column_value(statement, 0) >>> 0;
  const stride = (api.sqlite3_column_value(statement, 1) >>> 0) - first;
  const { view } = memory;
  const { numberAt, pointerAt, lengthAt, flagsAt, encodingAt } = valueLayout;
  const at = (column: number): number => first + column * stride;
  const flags = (column: number): number =>
    view.getUint16(at(column) + flagsAt, true) & valueFlagMask;
  const bytes = (column: number): string => {
    const pointer = view.getUint32(at(column) + pointerAt, true);
    const length = view.getInt32(at(column) + lengthAt, true);
    if (length > 8) return '';
    return Buffer.from(memory.bytes.buffer, pointer, length).toString('hex');
  };
  const found =
    stride > encodingAt &&
    at(4) === api.sqlite3_column_value(statement, 4) >>> 0 &&
    flags(0) === valueFlag.integer &&
    view.getBigInt64(at(0) + numberAt, true) === 81_985_529_216_486_895n &&
    flags(1) === valueFlag.float &&
    view.getFloat64(at(1) + numberAt, true) === -2.5 &&
    flags(2) === valueFlag.text &&
    view.getUint8(at(2) + encodingAt) === utf8Encoding &&
    bytes(2) === '666f7572' &&
    flags(3) === valueFlag.blob &&
    bytes(3) === '0102030405' &&
    flags(4) === valueFlag.null;
  return found ? stride : 0;
}
