import type { WasmMemory } from './wasm-memory.ts';

/** Values and statements up to this length are copied into an area that is there already. */
const areaBytes = 65_536;

/** Where bytes are put for SQLite to read them in the next call: SQL text, and values to bind. */
export class TextArea {
  readonly #memory: WasmMemory;
  readonly #area: number;
  /** A longer text, in memory of its own, until the next one comes. */
  #large = 0;
  #placed: Uint8Array | undefined;
  #placedAt = 0;

  constructor(memory: WasmMemory) {
    this.#memory = memory;
    this.#area = memory.allocate(areaBytes + 1);
  }

  /**
   * A pointer to a copy of `bytes` from `offset` on, with a NUL after it; 0 when memory is exhausted. Valid until
   * the next call. Texts of many statements are asked for once for each, with a growing offset: they are
   * copied once.
   */
  place(bytes: Uint8Array, offset: number): number {
    if (offset > 0 && bytes === this.#placed) return this.#placedAt + offset;
    this.#placed = undefined;
    const start = bytes.length <= areaBytes ? this.#area : this.#allocateLarge(bytes.length + 1);
    if (start === 0) return 0;
    const target = this.#memory.bytes;
    target.set(bytes, start);
    target[start + bytes.length] = 0;
    this.#placed = bytes;
    this.#placedAt = start;
    return start + offset;
  }

  #allocateLarge(sizeBytes: number): number {
    if (this.#large !== 0) this.#memory.free(this.#large);
    this.#large = this.#memory.allocate(sizeBytes);
    return this.#large;
  }
}
