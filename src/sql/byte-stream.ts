import { WireError } from '../base/errors.ts';

/** Reads a stream of chunks in pieces of known sizes. Holds one chunk and the piece asked for. */
export class ByteStream {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next `size` bytes, valid until the next call. @throws WireError when the stream ends before */
  async take(size: number): Promise<Buffer> {
    if (size <= this.#chunk.length) return this.#split(size);
    const parts: Buffer[] = [];
    for (let missing = size; missing > 0; ) {
      if (this.#chunk.length === 0) await this.#next();
      const part = this.#split(Math.min(missing, this.#chunk.length));
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** A uint64 that counts something. */
  async takeCount(): Promise<number> {
    const value = (await this.take(8)).readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new WireError('a count of more than 53 bits');
    return Number(value);
  }

  /** Stops reading: the source may free what it holds. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #next(): Promise<void> {
    const { value, done } = await this.#chunks.next();
    if (done === true) throw new WireError('a snapshot ends too early');
    this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }

  #split(size: number): Buffer {
    const part = this.#chunk.subarray(0, size);
    this.#chunk = this.#chunk.subarray(size);
    return part;
  }
}
