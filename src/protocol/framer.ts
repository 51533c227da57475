import { WireError } from '../base/errors.ts';
import { ByteQueue } from './byte-queue.ts';
import { wordBytes } from './words.ts';

/** The first word of a connection. */
export const protocolWords = { v1: 1n, legacy: 0x86104dd760433fe5n } as const;

/** How a client introduced itself. `legacy` clients get the older form of SERVER. */
export type ProtocolVersion = keyof typeof protocolWords;

/** Longest message unless the operator allows more: SQL and blobs of this size are held in memory. */
export const defaultMaxMessageBytes = 64 * 1024 * 1024;

/** One message: type and schema of its header, and the body that follows it. */
export interface Frame {
  readonly type: number;
  readonly schema: number;
  /** A view of the bytes received when the message came in one piece, else a copy. */
  readonly body: Buffer;
}

/** Cuts a stream of bytes, however it is chopped up, into messages: requests or responses. */
export class Framer {
  readonly #queue = new ByteQueue();
  readonly #maxMessageBytes: number;

  /** @param maxMessageBytes longest message, header included; a longer one is refused at its header */
  constructor(maxMessageBytes = defaultMaxMessageBytes) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Bytes received and not returned yet: what back-pressure looks at. */
  get bufferedBytes(): number {
    return this.#queue.length;
  }

  /** Adds bytes as they were received. They must not change afterwards. */
  push(chunk: Buffer): void {
    this.#queue.push(chunk);
  }

  /**
   * The handshake word, once it is there. Call until it is.
   * @throws WireError when it is not one of `protocolWords`
   */
  handshake(): ProtocolVersion | undefined {
    if (this.#queue.length < wordBytes) return undefined;
    const word = this.#queue.take(wordBytes).readBigUInt64LE(0);
    if (word === protocolWords.v1) return 'v1';
    if (word === protocolWords.legacy) return 'legacy';
    throw new WireError(`unknown protocol ${word}`);
  }

  /**
   * Removes the next message; undefined while it is not there whole.
   * @throws WireError when its header cannot be one
   */
  next(): Frame | undefined {
    const bodyBytes = this.#completeBody();
    if (bodyBytes === undefined) return undefined;
    const tag = this.#queue.peekUint32(4) ?? 0;
    this.#queue.skip(wordBytes);
    return { type: tag & 0xff, schema: (tag >>> 8) & 0xff, body: this.#queue.take(bodyBytes) };
  }

  /**
   * Type of the next message if it is there whole, which it stays: so a session that sends rows finds out
   * that the client wants no more of them.
   * @throws WireError when its header cannot be one
   */
  peekType(): number | undefined {
    if (this.#completeBody() === undefined) return undefined;
    return (this.#queue.peekUint32(4) ?? 0) & 0xff;
  }

  /** Removes all bytes that no message took: behind CONNECT they are no longer messages of this protocol. */
  takeRest(): Buffer {
    return this.#queue.take(this.#queue.length);
  }

  /** Length of the next message's body, when it is there whole. */
  #completeBody(): number | undefined {
    const words = this.#queue.peekUint32(0);
    if (words === undefined || this.#queue.length < wordBytes) return undefined;
    const bodyBytes = words * wordBytes;
    const size = wordBytes + bodyBytes;
    if (bodyBytes === 0) throw new WireError('a message without a body');
    if (size > this.#maxMessageBytes) {
      throw new WireError(`a message of ${size} bytes, more than ${this.#maxMessageBytes}`);
    }
    return this.#queue.length < size ? undefined : bodyBytes;
  }
}
