import { type RowShape, storageClass } from '../protocol/row-writer.ts';
import { rowHeaderBytes } from '../protocol/rows.ts';
import { valueCode } from '../protocol/values.ts';
import { padded, type Writer, wordBytes } from '../protocol/words.ts';
import { utf8Encoding, valueFlag, valueFlagMask, valueLayout } from './engines/value-layout.ts';

/** Longer texts and blobs are copied by a call, which costs as much as copying this in a loop. */
const shortBytes = 512;

/** Storage class of a value that is one thing only, by its flags; 0 for all others. */
const classOfFlags = classesByFlag();

/** The memory of an instance. */
interface Memory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * Appends a row (see RowWriter) as it lies in SQLite's memory: its values one after the other, `stride` bytes apart. False:
 * it holds something that only SQLite can tell the value of, and nothing was written.
 */
export function packRow(
  memory: Memory,
  first: number,
  stride: number,
  shape: RowShape,
  to: Writer,
): boolean {
  const before = to.length;
  const headerBytes = rowHeaderBytes(shape.columnCount);
  const bytes = bytesOfValues(memory.view, first, stride, shape);
  if (bytes < 0) return false;
  const headerAt = to.take(headerBytes + bytes);
  writeHeader(memory.view, first, stride, shape, to.view, headerAt);
  let at = headerAt + headerBytes;
  let value = first;
  for (let column = 0; column < shape.columnCount; column++, value += stride) {
    at = writeValue(memory, value, to, at);
    if (at < 0) {
      to.truncate(before);
      return false;
    }
  }
  return true;
}

/** Bytes of the values of a row; -1 when SQLite has to be asked for one. */
function bytesOfValues(view: DataView, first: number, stride: number, shape: RowShape): number {
  const { columnCount, codes } = shape;
  let size = 0;
  let value = first;
  for (let column = 0; column < columnCount; column++, value += stride) {
    switch (classAt(view, value)) {
      case storageClass.integer:
      case storageClass.float:
        size += wordBytes;
        break;
      case storageClass.null:
        // Marked as a text: an empty one.
        if (codes[8 * column + storageClass.null] === valueCode.iso8601) return -1;
        size += wordBytes;
        break;
      case storageClass.text:
        if (view.getUint8(value + valueLayout.encodingAt) !== utf8Encoding) return -1;
        size += padded(view.getInt32(value + valueLayout.lengthAt, true) + 1);
        break;
      case storageClass.blob:
        size += wordBytes + padded(view.getInt32(value + valueLayout.lengthAt, true));
        break;
      default:
        return -1;
    }
  }
  return size;
}

function writeHeader(
  view: DataView,
  first: number,
  stride: number,
  { columnCount, codes }: RowShape,
  target: DataView,
  headerAt: number,
): void {
  const end = headerAt + rowHeaderBytes(columnCount);
  let column = 0;
  let value = first;
  for (let at = headerAt; at < end; at += 4) {
    let word = 0;
    for (let bit = 0; bit < 32 && column < columnCount; bit += 4, column++, value += stride) {
      word |= (codes[8 * column + classAt(view, value)] ?? 0) << bit;
    }
    target.setInt32(at, word, true);
  }
}

/** Returns where the next value goes; -1 for a text with a zero in it, at which it ends for its reader. */
function writeValue(memory: Memory, value: number, to: Writer, at: number): number {
  const { view } = memory;
  const target = to.view;
  const kind = classAt(view, value);
  if (kind === storageClass.null) {
    zeroWord(target, at);
    return at + wordBytes;
  }
  if (kind !== storageClass.text && kind !== storageClass.blob) {
    const from = value + valueLayout.numberAt;
    target.setInt32(at, view.getInt32(from, true), true);
    target.setInt32(at + 4, view.getInt32(from + 4, true), true);
    return at + wordBytes;
  }
  const from = view.getUint32(value + valueLayout.pointerAt, true);
  const length = view.getInt32(value + valueLayout.lengthAt, true);
  if (kind === storageClass.text) return writeText(memory, from, length, to, at);
  target.setInt32(at, length, true);
  target.setInt32(at + 4, 0);
  const end = at + wordBytes + padded(length);
  if (length > 0) zeroWord(target, end - wordBytes);
  to.bytes.set(memory.bytes.subarray(from, from + length), at + wordBytes);
  return end;
}

function writeText(memory: Memory, from: number, length: number, to: Writer, at: number): number {
  const end = at + padded(length + 1);
  zeroWord(to.view, end - wordBytes);
  if (length <= shortBytes) {
    return copyShortText(memory.view, from, to.view, at, length) ? end : -1;
  }
  const text = memory.bytes.subarray(from, from + length);
  if (text.includes(0)) return -1;
  to.bytes.set(text, at);
  return end;
}

/** What the bytes of a value leave of its last word is zero. */
function zeroWord(target: DataView, at: number): void {
  target.setInt32(at, 0);
  target.setInt32(at + 4, 0);
}

/** Copies four bytes at a time. False: there is a zero among them. */
function copyShortText(
  view: DataView,
  from: number,
  target: DataView,
  at: number,
  length: number,
): boolean {
  const words = length & ~3;
  let zeros = 0;
  for (let i = 0; i < words; i += 4) {
    const word = view.getInt32(from + i, true);
    // Leaves the highest bit of each byte that is zero, and perhaps of bytes above one that is.
    zeros |= (word - 0x01010101) & ~word & 0x80808080;
    target.setInt32(at + i, word, true);
  }
  for (let i = words; i < length; i++) {
    const byte = view.getUint8(from + i);
    if (byte === 0) return false;
    target.setUint8(at + i, byte);
  }
  return zeros === 0;
}

function classAt(view: DataView, value: number): number {
  return classOfFlags[view.getUint16(value + valueLayout.flagsAt, true) & valueFlagMask] ?? 0;
}

function classesByFlag(): Uint8Array {
  const classes = new Uint8Array(valueFlagMask + 1);
  for (const [name, flag] of Object.entries(valueFlag)) {
    classes[flag] = storageClass[name as keyof typeof valueFlag];
  }
  return classes;
}
