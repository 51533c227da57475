/** Large enough that taking one is rare, small enough that a piece that lives long keeps little else. */
export const sharedChunkBytes = 1024 * 1024;

/**
 * Memory for pieces that are written once and then read, by several threads without a copy. Pieces lie next to each
 * other in shared chunks; a chunk is freed when no thread has a view of it any more.
 */
export class SharedArena {
  #chunk = new SharedArrayBuffer(0);
  #end = 0;

  /** `size` bytes with any content, at a multiple of 8. Large pieces get memory of their own. */
  allocate(size: number): Buffer {
    if (size > sharedChunkBytes / 4) return Buffer.from(new SharedArrayBuffer(size));
    if (this.#end + size > this.#chunk.byteLength) {
      this.#chunk = new SharedArrayBuffer(sharedChunkBytes);
      this.#end = 0;
    }
    const start = this.#end;
    this.#end += Math.ceil(size / 8) * 8;
    return Buffer.from(this.#chunk, start, size);
  }
}
