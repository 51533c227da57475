import { assert } from '../base/assert.ts';
import { WireError } from '../base/errors.ts';

/** Every message is a whole number of 8-byte words, little-endian. */
export const wordBytes = 8;

/** `size` rounded up to whole words. */
export function padded(size: number): number {
  return Math.ceil(size / wordBytes) * wordBytes;
}

/** Memory that the writers of messages share: large, so that the answers of many turns share one allocation. */
const sharedSlabBytes = 64 * 1024;

const empty = Buffer.alloc(0);

/** What is left of the slab that a writer used last, for whichever writer needs some next. */
let spare: Buffer = empty;
let spareStart = 0;

/** The slab that was last asked for its view, which is made once for many messages. */
let viewed: Buffer = empty;
let view: DataView = new DataView(empty.buffer, empty.byteOffset, 0);

/**
 * Bytes under construction. Grows as needed; what was taken is never moved or changed again, so it can be
 * handed to a socket without a copy.
 */
export class Writer {
  /** Undefined: memory is shared with other writers, so that an idle session holds none. */
  readonly #capacityBytes: number | undefined;
  #slab: Buffer = empty;
  #start = 0;
  #end = 0;

  /**
   * @param capacityBytes how much to allocate at a time, for a writer of one message: what it needs; when that is
   * exact, the result owns its memory
   */
  constructor(capacityBytes?: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** A writer into memory that is there: exactly as much as will be written. */
  static into(memory: Buffer): Writer {
    const writer = new Writer(memory.length);
    writer.#slab = memory;
    return writer;
  }

  /** How many bytes were written since the last `takeBytes`. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** The buffer that offsets of `take` refer to. Ask again after each `take`: growing replaces it. */
  get bytes(): Buffer {
    return this.#slab;
  }

  /** The same memory as `bytes`, for whoever copies words. */
  get view(): DataView {
    const slab = this.#slab;
    if (viewed !== slab) {
      viewed = slab;
      view = new DataView(slab.buffer, slab.byteOffset, slab.length);
    }
    return view;
  }

  /** Reserves `size` bytes and returns their offset in `bytes`. Their content is arbitrary: write all of them. */
  take(size: number): number {
    if (this.#end + size > this.#slab.length) this.#grow(size);
    const at = this.#end;
    this.#end += size;
    return at;
  }

  /** Reserves `size` bytes, rounded up to whole words, and zeroes what is beyond `size`. */
  takePadded(size: number): number {
    const whole = padded(size);
    const at = this.take(whole);
    for (let rest = at + size; rest < at + whole; rest++) this.#slab[rest] = 0;
    return at;
  }

  /** Overwrites four bytes written before, `position` bytes after the last `takeBytes`. */
  patchUint32(position: number, value: number): void {
    assert(position + 4 <= this.length, 'patch outside of what was written');
    this.#slab.writeUInt32LE(value, this.#start + position);
  }

  /** Forgets everything beyond the first `length` bytes since the last `takeBytes`. */
  truncate(length: number): void {
    assert(length <= this.length, 'truncate cannot lengthen');
    this.#end = this.#start + length;
  }

  /** All bytes written since the last call; they belong to the caller. */
  takeBytes(): Buffer {
    const bytes = this.#slab.subarray(this.#start, this.#end);
    this.#start = this.#end;
    if (this.#capacityBytes === undefined) this.#leaveRest();
    // What one large message needed is not kept for the next one.
    else if (this.#slab.length > this.#capacityBytes) this.#forget();
    return bytes;
  }

  /** What `takeBytes` returned last, to this or any other writer, is needed no more: its memory is used again. */
  static giveBack(bytes: Buffer): void {
    if (bytes.buffer !== spare.buffer) return;
    if (spare.byteOffset + spareStart !== bytes.byteOffset + bytes.length) return;
    spareStart -= bytes.length;
  }

  /** The rest of the slab is for whoever writes next. What one large message needed is not kept. */
  #leaveRest(): void {
    const left = this.#slab.length - this.#end;
    if (this.#slab.length === sharedSlabBytes && left > spare.length - spareStart) {
      spare = this.#slab;
      spareStart = this.#end;
    }
    this.#forget();
  }

  #forget(): void {
    this.#slab = empty;
    this.#start = 0;
    this.#end = 0;
  }

  #grow(size: number): void {
    if (this.#capacityBytes === undefined && this.length === 0 && this.#takeSpare(size)) return;
    const needed = this.length === 0 ? size : 2 * this.length + size;
    const slab = Buffer.allocUnsafeSlow(Math.max(this.#capacityBytes ?? sharedSlabBytes, needed));
    this.#end = this.#slab.copy(slab, 0, this.#start, this.#end);
    this.#start = 0;
    this.#slab = slab;
  }

  #takeSpare(size: number): boolean {
    if (spare.length - spareStart < size) return false;
    this.#slab = spare;
    this.#start = spareStart;
    this.#end = spareStart;
    spare = empty;
    spareStart = 0;
    return true;
  }
}

/** Reads fields one after the other; running past the end is a WireError, never undefined. */
export class Reader {
  readonly bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.bytes.length - this.#offset;
  }

  /** Steps over `size` bytes and returns the offset in `bytes` at which they start. */
  take(size: number): number {
    if (size > this.remaining) throw new WireError(`need ${size} bytes, have ${this.remaining}`);
    const at = this.#offset;
    this.#offset += size;
    return at;
  }

  /** Steps back over the last `size` bytes. */
  untake(size: number): void {
    assert(size <= this.#offset, 'untake before the beginning');
    this.#offset -= size;
  }

  /** A view of the next `size` bytes. */
  takeBytes(size: number): Buffer {
    const at = this.take(size);
    return this.bytes.subarray(at, at + size);
  }

  /** A view of the bytes before the next zero byte; steps over them, the zero and the padding. */
  takeText(): Buffer {
    const at = this.#offset;
    const end = this.bytes.indexOf(0, at);
    if (end < 0) throw new WireError('text without its closing zero');
    this.take(padded(end - at + 1));
    return this.bytes.subarray(at, end);
  }

  /** A view of all bytes that are left. */
  takeRest(): Buffer {
    return this.takeBytes(this.remaining);
  }
}
