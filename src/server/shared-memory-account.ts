/**
 * Tells V8 of shared memory that objects of this thread keep alive. It counts none of it, and would keep tens of
 * megabytes of garbage a second for many seconds: a log's entries are small objects that lie in such memory.
 */
export class SharedMemoryAccount {
  readonly #adjust: (bytes: number) => void;
  readonly #known = new WeakSet<SharedArrayBuffer>();
  readonly #collected: FinalizationRegistry<number>;

  /** @param adjust tells V8 of so many bytes more, or less */
  constructor(adjust: (bytes: number) => void) {
    this.#adjust = adjust;
    this.#collected = new FinalizationRegistry((bytes) => adjust(-bytes));
  }

  /** Counts it until it is collected; once, however often it is added. */
  add(memory: SharedArrayBuffer): void {
    if (this.#known.has(memory)) return;
    this.#known.add(memory);
    this.#collected.register(memory, memory.byteLength);
    this.#adjust(memory.byteLength);
  }
}
