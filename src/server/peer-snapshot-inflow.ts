/** Bytes of a snapshot between the connection that brings them and the disk that takes them. */
export class SnapshotInflow implements AsyncIterable<Uint8Array> {
  readonly #taken: () => void;
  #chunks: Uint8Array[] = [];
  #queuedBytes = 0;
  #ended = false;
  #error: Error | undefined;
  #wake: () => void = () => {};

  /** @param taken runs each time the reader took what waited */
  constructor(taken: () => void) {
    this.#taken = taken;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#wake();
  }

  /** The snapshot is whole. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** The rest will not come: the reader's loop throws. */
  fail(error: Error): void {
    this.#error = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const chunks = this.#chunks;
      this.#chunks = [];
      this.#queuedBytes = 0;
      if (chunks.length > 0) this.#taken();
      yield* chunks;
      if (this.#chunks.length > 0 || this.#error !== undefined) continue;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
