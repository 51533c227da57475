/**
 * Memory of a WASM instance. Every view of it dies when it grows, and any call into the instance may grow it:
 * ask again after each call, and never keep what is returned here.
 */
export interface LinearMemory {
  /** The whole memory. */
  readonly bytes: Uint8Array;
  readUint32(pointer: number): number;
  writeInt32(pointer: number, value: number): void;
  /** Memory from SQLite's allocator; 0 when there is none left. */
  allocate(sizeBytes: number): number;
  free(pointer: number): void;
}

/** Length of the C string at `pointer`, without its NUL. */
export function cStringLength(bytes: Uint8Array, pointer: number): number {
  return bytes.indexOf(0, pointer) - pointer;
}

/** The C string at `pointer`, one character for each byte. */
export function latin1At(bytes: Uint8Array, pointer: number): string {
  const end = pointer + cStringLength(bytes, pointer);
  return Buffer.from(bytes.buffer, bytes.byteOffset + pointer, end - pointer).toString('latin1');
}
