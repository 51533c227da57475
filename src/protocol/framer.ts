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
    const header = this.#completeHeader();
    if (header === undefined) return undefined;
    this.#queue.take(wordBytes);
    const body = this.#queue.take(bodyBytesOf(header));
    return { type: header[4] ?? 0, schema: header[5] ?? 0, body };
  }

  /**
   * Type of the next message if it is there whole, which it stays: so a session that sends rows finds out
   * that the client wants no more of them.
   * @throws WireError when its header cannot be one
   */
  peekType(): number | undefined {
    return this.#completeHeader()?.[4];
  }

  /** Removes all bytes that no message took: behind CONNECT they are no longer messages of this protocol. */
  takeRest(): Buffer {
    return this.#queue.take(this.#queue.length);
  }

  #completeHeader(): Buffer | undefined {
    const header = this.#queue.peek(wordBytes);
    if (header === undefined) return undefined;
    const size = wordBytes + bodyBytesOf(header);
    if (size === wordBytes) throw new WireError('a message without a body');
    if (size > this.#maxMessageBytes) {
      throw new WireError(`a message of ${size} bytes, more than ${this.#maxMessageBytes}`);
    }
    return this.#queue.length < size ? undefined : header;
  }
}

function bodyBytesOf(header: Buffer): number {
  return header.readUInt32LE(0) * wordBytes;
}
