import { WireError } from '../base/errors.ts';
import { ByteQueue } from './byte-queue.ts';
import {
  type DecodedPeerHeader,
  decodePeerHeader,
  maxPeerHeaderBytes,
  messageOf,
  peerPreambleBytes,
} from './peer-codec.ts';
import type { WirePeerMessage } from './peer-messages.ts';

/** What the connection of a peer carries after CONNECT. */
export type PeerItem = WirePeerMessage | SnapshotChunk;

/**
 * Bytes of the snapshot whose installSnapshot header came before, as they arrive. `last` is true exactly once for
 * each snapshot (without any bytes when it is empty).
 */
export interface SnapshotChunk {
  readonly kind: 'snapshotChunk';
  readonly bytes: Buffer;
  readonly last: boolean;
}

const noBytes = Buffer.alloc(0);

/** Cuts the bytes of a peer into messages. Entries come whole, snapshots piece by piece. */
export class PeerFramer {
  readonly #queue = new ByteQueue();
  /** A header that was read and waits for its payload. */
  #waiting: DecodedPeerHeader | undefined;
  /** Bytes of a snapshot that are still to come; undefined outside of a snapshot. */
  #snapshotBytes: number | undefined;

  /** Bytes received and not returned yet: what back-pressure looks at. */
  get bufferedBytes(): number {
    return this.#queue.length;
  }

  /** Adds bytes as they were received. They must not change afterwards: entries may be views of them. */
  push(chunk: Buffer): void {
    this.#queue.push(chunk);
  }

  /**
   * The next message or piece of a snapshot, as far as there is one.
   * @throws WireError when the bytes are no message: close the connection
   */
  next(): PeerItem | undefined {
    if (this.#snapshotBytes !== undefined) return this.#nextChunk(this.#snapshotBytes);
    this.#waiting ??= this.#nextHeader();
    if (this.#waiting === undefined) return undefined;
    const { header, payloadBytes } = this.#waiting;
    if (this.#queue.length < payloadBytes) return undefined;
    this.#waiting = undefined;
    if (header.kind === 'installSnapshot') this.#snapshotBytes = header.dataSize;
    return messageOf(header, payloadBytes === 0 ? noBytes : this.#queue.take(payloadBytes));
  }

  #nextHeader(): DecodedPeerHeader | undefined {
    const preamble = this.#queue.peek(peerPreambleBytes);
    if (preamble === undefined) return undefined;
    // Only 16 bits of the type mean anything to servers since 1.12.
    const type = preamble.readUInt16LE(0);
    const sizeBytes = preamble.readBigUInt64LE(8);
    if (sizeBytes === 0n || sizeBytes > BigInt(maxPeerHeaderBytes)) {
      throw new WireError(`header of ${sizeBytes} bytes`);
    }
    if (this.#queue.length < peerPreambleBytes + Number(sizeBytes)) return undefined;
    this.#queue.take(peerPreambleBytes);
    return decodePeerHeader(type, this.#queue.take(Number(sizeBytes)));
  }

  #nextChunk(remaining: number): SnapshotChunk | undefined {
    if (remaining > 0 && this.#queue.length === 0) return undefined;
    const bytes = this.#queue.takeSome(remaining);
    const left = remaining - bytes.length;
    this.#snapshotBytes = left === 0 ? undefined : left;
    return { kind: 'snapshotChunk', bytes, last: left === 0 };
  }
}
