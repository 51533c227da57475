import type { SnapshotData } from '../raft/types.ts';
import type { Transfer } from './raft-channel.ts';

/** What two threads say to each other about the bytes of snapshots. `stream` is one pass over one snapshot. */
export type SnapshotStreamMessage =
  | { readonly type: 'snapshotOpen'; readonly snapshot: number; readonly stream: number }
  | { readonly type: 'snapshotBytes'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly type: 'snapshotEnd'; readonly stream: number; readonly error: string | undefined }
  /** The reader took so many bytes: as many more may be sent. */
  | { readonly type: 'snapshotTaken'; readonly stream: number; readonly bytes: number }
  /** The reader wants no more. */
  | { readonly type: 'snapshotCancel'; readonly stream: number }
  | { readonly type: 'snapshotRelease'; readonly snapshot: number };

type Post = (message: SnapshotStreamMessage, transfer?: Transfer) => void;

/** Bytes of one stream that may be on their way between the threads. */
const WINDOW_BYTES = 8 * 1024 * 1024;

/** Lends snapshots of this thread to the other one, chunk by chunk, as fast as they are taken. */
export class SnapshotLender {
  readonly #post: Post;
  readonly #lent = new Map<number, SnapshotData>();
  readonly #streams = new Map<number, Outgoing>();
  #last = 0;

  constructor(post: Post) {
    this.#post = post;
  }

  /** Names a snapshot for the other thread, which releases it. */
  lend(data: SnapshotData): number {
    this.#last++;
    this.#lent.set(this.#last, data);
    return this.#last;
  }

  receive(message: SnapshotStreamMessage): void {
    if (message.type === 'snapshotOpen') {
      const data = this.#lent.get(message.snapshot);
      if (data !== undefined) void this.#send(message.stream, data);
    } else if (message.type === 'snapshotTaken') {
      this.#streams.get(message.stream)?.taken(message.bytes);
    } else if (message.type === 'snapshotCancel') {
      this.#streams.get(message.stream)?.cancel();
    } else if (message.type === 'snapshotRelease') {
      this.#lent.get(message.snapshot)?.release();
      this.#lent.delete(message.snapshot);
    }
  }

  /** The other thread is gone. */
  close(): void {
    for (const stream of this.#streams.values()) stream.cancel();
    for (const data of this.#lent.values()) data.release();
    this.#lent.clear();
  }

  async #send(stream: number, data: SnapshotData): Promise<void> {
    const outgoing = new Outgoing();
    this.#streams.set(stream, outgoing);
    let failure: string | undefined;
    try {
      for await (const chunk of data.chunks()) {
        // Chunks may be views of pages that stay here.
        const bytes = new Uint8Array(chunk);
        this.#post({ type: 'snapshotBytes', stream, bytes }, [bytes.buffer]);
        await outgoing.sent(bytes.length);
        if (outgoing.cancelled) break;
      }
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    this.#streams.delete(stream);
    if (!outgoing.cancelled) this.#post({ type: 'snapshotEnd', stream, error: failure });
  }
}

/** Reads the snapshots that the other thread lends. */
export class SnapshotBorrower {
  readonly #post: Post;
  readonly #streams = new Map<number, Incoming>();
  #last = 0;

  constructor(post: Post) {
    this.#post = post;
  }

  /** The snapshot that the other thread named. */
  borrow(snapshot: number, sizeBytes: number): SnapshotData {
    let released = false;
    return {
      sizeBytes,
      chunks: () => this.#chunks(snapshot),
      release: () => {
        if (!released) this.#post({ type: 'snapshotRelease', snapshot });
        released = true;
      },
    };
  }

  receive(message: SnapshotStreamMessage): void {
    if (message.type === 'snapshotBytes') {
      this.#streams.get(message.stream)?.push(message.bytes);
    } else if (message.type === 'snapshotEnd') {
      this.#streams.get(message.stream)?.end(message.error);
    }
  }

  async *#chunks(snapshot: number): AsyncGenerator<Uint8Array> {
    const stream = ++this.#last;
    const incoming = new Incoming();
    this.#streams.set(stream, incoming);
    this.#post({ type: 'snapshotOpen', snapshot, stream });
    try {
      for (;;) {
        const bytes = await incoming.next();
        if (bytes === undefined) return;
        yield bytes;
        this.#post({ type: 'snapshotTaken', stream, bytes: bytes.length });
      }
    } finally {
      this.#streams.delete(stream);
      if (!incoming.ended) this.#post({ type: 'snapshotCancel', stream });
    }
  }
}

/** How far one stream may run ahead of its reader. */
class Outgoing {
  cancelled = false;
  #outstanding = 0;
  #wake: () => void = () => {};

  taken(bytes: number): void {
    this.#outstanding -= bytes;
    this.#wake();
  }

  cancel(): void {
    this.cancelled = true;
    this.#wake();
  }

  /** Counts bytes that were sent; resolves once more may follow. */
  async sent(bytes: number): Promise<void> {
    this.#outstanding += bytes;
    while (this.#outstanding >= WINDOW_BYTES && !this.cancelled) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** Chunks that came and were not read yet. */
class Incoming {
  ended = false;
  #error: string | undefined;
  readonly #chunks: Uint8Array[] = [];
  #wake: () => void = () => {};

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#wake();
  }

  end(error: string | undefined): void {
    this.ended = true;
    this.#error = error;
    this.#wake();
  }

  /** The next chunk; undefined after the last. Rejects when the other thread failed to read on. */
  async next(): Promise<Uint8Array | undefined> {
    while (this.#chunks.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const bytes = this.#chunks.shift();
    if (bytes === undefined && this.#error !== undefined) throw new Error(this.#error);
    return bytes;
  }
}
