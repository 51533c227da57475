import { resultCode } from './sqlite-codes.ts';

const chunkBytes = 65_536;

/** Bytes that all temporary files of one engine may hold together. */
export class TemporarySpace {
  readonly limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  take(sizeBytes: number): boolean {
    if (this.#usedBytes + sizeBytes > this.limitBytes) return false;
    this.#usedBytes += sizeBytes;
    return true;
  }

  give(sizeBytes: number): void {
    this.#usedBytes -= sizeBytes;
  }
}

/**
 * A file that only its connection sees and that ends with it: journals, temporary databases, sorters. It lives
 * outside the WASM heap, in chunks.
 */
export class TemporaryFile {
  readonly #space: TemporarySpace;
  #chunks: (Uint8Array | undefined)[] = [];
  #sizeBytes = 0;

  constructor(space: TemporarySpace) {
    this.#space = space;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  read(memory: Uint8Array, pointer: number, length: number, offset: number): number {
    const end = Math.min(offset + length, this.#sizeBytes);
    let at = offset;
    while (at < end) {
      const within = at % chunkBytes;
      const part = Math.min(end - at, chunkBytes - within);
      const chunk = this.#chunks[Math.floor(at / chunkBytes)];
      const to = pointer + at - offset;
      if (chunk === undefined) memory.fill(0, to, to + part);
      else memory.set(chunk.subarray(within, within + part), to);
      at += part;
    }
    if (end >= offset + length) return resultCode.ok;
    memory.fill(0, pointer + Math.max(0, end - offset), pointer + length);
    return resultCode.shortRead;
  }

  write(memory: Uint8Array, pointer: number, length: number, offset: number): number {
    let at = offset;
    while (at < offset + length) {
      const within = at % chunkBytes;
      const part = Math.min(offset + length - at, chunkBytes - within);
      const chunk = this.#chunkFor(Math.floor(at / chunkBytes));
      if (chunk === undefined) return resultCode.full;
      const from = pointer + at - offset;
      chunk.set(memory.subarray(from, from + part), within);
      at += part;
      if (at > this.#sizeBytes) this.#sizeBytes = at;
    }
    return resultCode.ok;
  }

  truncate(sizeBytes: number): number {
    this.#sizeBytes = Math.min(this.#sizeBytes, sizeBytes);
    const kept = Math.ceil(this.#sizeBytes / chunkBytes);
    for (const chunk of this.#chunks.splice(kept)) {
      if (chunk !== undefined) this.#space.give(chunkBytes);
    }
    // What lies behind the end must read as zeros when the file grows again.
    this.#chunks[kept - 1]?.fill(0, this.#sizeBytes - (kept - 1) * chunkBytes);
    return resultCode.ok;
  }

  close(): void {
    this.truncate(0);
  }

  #chunkFor(index: number): Uint8Array | undefined {
    let chunk = this.#chunks[index];
    if (chunk === undefined && this.#space.take(chunkBytes)) {
      chunk = new Uint8Array(chunkBytes);
      this.#chunks[index] = chunk;
    }
    return chunk;
  }
}
