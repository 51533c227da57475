import { assert } from '../../base/assert.ts';
import type { LinearMemory } from '../../vfs/linear-memory.ts';

const pageBytes = 65_536;

/** Growing is slow and kills every view, so it happens in steps of at least 16 MiB. */
const smallestStepBytes = 16 * 1024 * 1024;

/** The linear memory of a build, with SQLite's allocator. */
export class WasmMemory implements LinearMemory {
  /** The memory itself, for modules that share it. */
  readonly shared: WebAssembly.Memory;
  readonly #limitBytes: number;
  #bytes: Uint8Array;
  #view: DataView;
  #allocate: ((sizeBytes: number) => number) | undefined;
  #free: ((pointer: number) => void) | undefined;

  constructor(memory: WebAssembly.Memory, limitBytes: number) {
    this.shared = memory;
    this.#limitBytes = limitBytes;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  /** Takes SQLite's allocator, which exists only once the build is instantiated. */
  useAllocator(allocate: (sizeBytes: number) => number, free: (pointer: number) => void): void {
    this.#allocate = allocate;
    this.#free = free;
  }

  get bytes(): Uint8Array {
    // A view of memory that has grown is detached, and empty.
    if (this.#bytes.length === 0) this.#refresh();
    return this.#bytes;
  }

  get view(): DataView {
    if (this.#bytes.length === 0) this.#refresh();
    return this.#view;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  readUint32(pointer: number): number {
    return this.view.getUint32(pointer, true);
  }

  writeInt32(pointer: number, value: number): void {
    this.view.setInt32(pointer, value, true);
  }

  allocate(sizeBytes: number): number {
    assert(this.#allocate !== undefined, 'the build is instantiated');
    return this.#allocate(sizeBytes) >>> 0;
  }

  free(pointer: number): void {
    assert(this.#free !== undefined, 'the build is instantiated');
    this.#free(pointer);
  }

  /** A C string of these bytes. Never freed: for what lives as long as the build. */
  permanentCString(value: string): number {
    const pointer = this.allocate(value.length + 1);
    assert(pointer !== 0, 'a new build has memory');
    Buffer.from(this.bytes.buffer, pointer).write(`${value}\0`, 'latin1');
    return pointer;
  }

  /** Makes room for `neededBytes` in all. False: the limit is reached, and SQLite reports SQLITE_NOMEM. */
  grow(neededBytes: number): boolean {
    const now = this.shared.buffer.byteLength;
    if (neededBytes <= now) return true;
    if (neededBytes > this.#limitBytes) return false;
    const step = Math.max(smallestStepBytes, Math.floor(now / 4));
    const wanted = Math.min(this.#limitBytes, Math.max(neededBytes, now + step));
    return this.#tryGrow(wanted) || this.#tryGrow(neededBytes);
  }

  #tryGrow(sizeBytes: number): boolean {
    const missing = sizeBytes - this.shared.buffer.byteLength;
    try {
      this.shared.grow(Math.ceil(missing / pageBytes));
      return true;
    } catch {
      return false;
    }
  }

  #refresh(): void {
    this.#bytes = new Uint8Array(this.shared.buffer);
    this.#view = new DataView(this.shared.buffer);
  }
}
