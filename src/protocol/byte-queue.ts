import { assert } from '../base/assert.ts';

/**
 * Smaller chunks are copied together while they wait: a sender that dribbles bytes must not cost an object
 * for each of them.
 */
const smallChunkBytes = 2048;
const tailBytes = 32 * 1024;

/** Bytes in the order of their arrival, whatever chunks they came in. Each byte is copied at most twice. */
export class ByteQueue {
  readonly #chunks: Buffer[] = [];
  /** Bytes of the first chunk that were taken already. */
  #offset = 0;
  #length = 0;
  /** Memory that the last chunk is a view of, when small chunks are being copied together. */
  #tail: Buffer | undefined;
  #tailEnd = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Adds bytes at the end. They must not change afterwards. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (this.#length > 0 && chunk.length < smallChunkBytes) this.#appendSmall(chunk);
    else this.#append(chunk);
    this.#length += chunk.length;
  }

  /** The next `size` bytes in one piece, which stay in the queue; undefined while there are fewer. */
  peek(size: number): Buffer | undefined {
    if (this.#length < size) return undefined;
    const first = this.#chunks[0];
    if (first !== undefined && first.length - this.#offset >= size) {
      return first.subarray(this.#offset, this.#offset + size);
    }
    const joined = this.#removeJoined(size);
    this.#putBack(joined);
    return joined;
  }

  /** The 32-bit number, little-endian, that is `offset` bytes ahead; undefined while it is not there. */
  peekUint32(offset: number): number | undefined {
    if (this.#length < offset + 4) return undefined;
    const first = this.#chunks[0];
    const at = this.#offset + offset;
    if (first !== undefined && at + 4 <= first.length) return first.readUInt32LE(at);
    return this.peek(offset + 4)?.readUInt32LE(offset);
  }

  /** Removes the next `size` bytes. There must be as many. */
  skip(size: number): void {
    const first = this.#chunks[0];
    if (first === undefined || first.length - this.#offset < size) this.take(size);
    else this.#skip(first, size);
  }

  /** Removes the next `size` bytes; a view when they came in one piece. There must be as many. */
  take(size: number): Buffer {
    assert(size <= this.#length, 'more bytes taken than there are');
    const first = this.#chunks[0];
    if (first === undefined || first.length - this.#offset < size) return this.#removeJoined(size);
    const bytes = first.subarray(this.#offset, this.#offset + size);
    this.#skip(first, size);
    return bytes;
  }

  /** Removes what lies in one piece, at most `size` bytes: a view, never a copy. */
  takeSome(size: number): Buffer {
    const first = this.#chunks[0];
    return first === undefined
      ? Buffer.alloc(0)
      : this.take(Math.min(size, first.length - this.#offset));
  }

  #append(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#tail = undefined;
  }

  #appendSmall(chunk: Buffer): void {
    const tail = this.#tail;
    const last = this.#chunks.at(-1);
    if (tail !== undefined && last !== undefined && this.#tailEnd + chunk.length <= tail.length) {
      tail.set(chunk, this.#tailEnd);
      const start = this.#tailEnd - last.length;
      this.#tailEnd += chunk.length;
      this.#chunks[this.#chunks.length - 1] = tail.subarray(start, this.#tailEnd);
      return;
    }
    const fresh = Buffer.allocUnsafeSlow(tailBytes);
    fresh.set(chunk);
    this.#chunks.push(fresh.subarray(0, chunk.length));
    this.#tail = fresh;
    this.#tailEnd = chunk.length;
  }

  #skip(first: Buffer, size: number): void {
    this.#length -= size;
    this.#offset += size;
    if (this.#offset < first.length) return;
    this.#chunks.shift();
    this.#offset = 0;
    if (this.#chunks.length === 0) this.#tail = undefined;
  }

  #removeJoined(size: number): Buffer {
    const joined = Buffer.allocUnsafe(size);
    let filled = 0;
    while (filled < size) {
      const piece = this.takeSome(size - filled);
      joined.set(piece, filled);
      filled += piece.length;
    }
    return joined;
  }

  #putBack(bytes: Buffer): void {
    const first = this.#chunks[0];
    if (first !== undefined && this.#offset > 0) this.#chunks[0] = first.subarray(this.#offset);
    this.#offset = 0;
    this.#chunks.unshift(bytes);
    this.#length += bytes.length;
    if (this.#chunks.length === 1) this.#tail = undefined;
  }
}
