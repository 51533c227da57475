import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

/** What the two ends of a relayed connection say to each other, by the number of the connection. */
export type RelayMessage =
  | { readonly type: 'relayBytes'; readonly number: number; readonly bytes: Uint8Array }
  | { readonly type: 'relayEnd'; readonly number: number }
  /** The receiver took so many bytes: as many more may be sent. */
  | { readonly type: 'relayTaken'; readonly number: number; readonly bytes: number }
  | { readonly type: 'relayClose'; readonly number: number };

/** Bytes of one connection that may be on their way between the threads. */
const WINDOW_BYTES = 1024 * 1024;

/** Where sockets cannot change threads: reads them here and passes their bytes on. */
export class RelaySender {
  readonly #post: (message: RelayMessage) => void;
  readonly #sockets = new Map<number, { readonly socket: Socket; outstanding: number }>();

  constructor(post: (message: RelayMessage) => void) {
    this.#post = post;
  }

  /** Relays a connection until one end closes it. */
  add(number: number, socket: Socket): void {
    const relayed = { socket, outstanding: 0 };
    this.#sockets.set(number, relayed);
    socket.on('data', (bytes: Buffer) => {
      relayed.outstanding += bytes.length;
      if (relayed.outstanding >= WINDOW_BYTES) socket.pause();
      this.#post({ type: 'relayBytes', number, bytes });
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#sockets.delete(number)) this.#post({ type: 'relayEnd', number });
    });
    socket.resume();
  }

  /** What the receiver says about a connection. */
  receive(message: RelayMessage): void {
    const relayed = this.#sockets.get(message.number);
    if (relayed === undefined) return;
    if (message.type === 'relayClose') {
      this.#sockets.delete(message.number);
      relayed.socket.destroy();
    } else if (message.type === 'relayTaken') {
      relayed.outstanding -= message.bytes;
      if (relayed.outstanding < WINDOW_BYTES) relayed.socket.resume();
    }
  }

  close(): void {
    for (const { socket } of this.#sockets.values()) socket.destroy();
    this.#sockets.clear();
  }
}

/** The other end: each connection is a stream that can be read. */
export class RelayReceiver {
  readonly #post: (message: RelayMessage) => void;
  readonly #streams = new Map<number, RelayedStream>();

  constructor(post: (message: RelayMessage) => void) {
    this.#post = post;
  }

  /** The stream of a connection that the sender is about to relay. */
  add(number: number): Readable {
    const stream = new RelayedStream(
      (bytes) => this.#post({ type: 'relayTaken', number, bytes }),
      () => {
        if (this.#streams.delete(number)) this.#post({ type: 'relayClose', number });
      },
    );
    this.#streams.set(number, stream);
    return stream;
  }

  /** What the sender says about a connection. */
  receive(message: RelayMessage): void {
    const stream = this.#streams.get(message.number);
    if (message.type === 'relayBytes') stream?.receive(message.bytes);
    else if (message.type === 'relayEnd') stream?.receiveEnd();
  }
}

/** Bytes that came from another thread; the sender hears of each chunk when it was read. */
class RelayedStream extends Readable {
  readonly #taken: (bytes: number) => void;
  readonly #closed: () => void;
  #chunks: Uint8Array[] = [];
  #wanted = false;
  #ended = false;

  constructor(taken: (bytes: number) => void, closed: () => void) {
    super();
    this.#taken = taken;
    this.#closed = closed;
  }

  receive(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    if (this.#wanted) this._read();
  }

  receiveEnd(): void {
    this.#ended = true;
    if (this.#wanted) this._read();
  }

  override _read(): void {
    this.#wanted = false;
    const bytes = this.#chunks.shift();
    if (bytes !== undefined) {
      this.#taken(bytes.length);
      this.push(bytes);
    } else if (this.#ended) {
      this.push(null);
    } else {
      this.#wanted = true;
    }
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#closed();
    callback(error);
  }
}
