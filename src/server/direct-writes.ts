import type { Socket } from 'node:net';
import { assert } from '../base/assert.ts';

/**
 * Writing past the stream that Node wraps around a socket: an answer nearly always fits into the kernel's buffer,
 * and then the stream's bookkeeping is more work than the answer. Rests on `socket._handle` and on
 * `process.binding('stream_wrap')`, which are no public interface (Node 20 to 24 have them): everything that touches
 * them for writing is in this file, and where they are not as expected the stream is used.
 */

interface WriteRequest {
  /** Keeps the bytes alive until they are written. */
  buffer?: Uint8Array | readonly Uint8Array[];
  oncomplete?: (status: number) => void;
}

interface WriteBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kLastWriteWasAsync: number;
}

/** Writes return 0, or a negative error number. */
interface Handle {
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  writev(request: WriteRequest, chunks: readonly Uint8Array[], allAreBuffers: true): number;
}

const binding = loadBinding();

/** The writing side of one socket. Everything is written through it, or nothing. */
export class SocketWriter {
  readonly #socket: Socket;
  readonly #drained: () => void;
  readonly #direct: boolean;
  #pendingBytes = 0;
  /** For the next write: it can be used again as long as writes are done at once. */
  #request: WriteRequest | undefined;

  /** @param drained called whenever everything written was taken by the network, after some of it was not at once */
  constructor(socket: Socket, drained: () => void) {
    this.#socket = socket;
    this.#drained = drained;
    this.#direct = canWriteDirectly(socket);
    if (!this.#direct) socket.on('drain', drained);
  }

  /** Bytes written and not yet taken by the network. */
  get bufferedBytes(): number {
    return this.#direct ? this.#pendingBytes : this.#socket.writableLength;
  }

  /**
   * Sends bytes, in order. True: the kernel has them. False: they must not change any more. Without effect once the
   * socket is closing.
   */
  write(bytes: Uint8Array): boolean {
    if (!this.#direct) {
      this.#socket.write(bytes);
      return false;
    }
    const handle = this.#openHandle();
    if (handle === undefined) return true;
    const request = this.#nextRequest();
    return this.#isTaken(handle.writeBuffer(request, bytes), request, bytes);
  }

  /** Sends several pieces in one go, as `write` does. */
  writeAll(pieces: readonly Uint8Array[]): boolean {
    const [first] = pieces;
    if (first === undefined) return true;
    if (pieces.length === 1) return this.write(first);
    if (!this.#direct) {
      for (const piece of pieces) this.#socket.write(piece);
      return false;
    }
    const handle = this.#openHandle();
    if (handle === undefined) return true;
    const request = this.#nextRequest();
    return this.#isTaken(handle.writev(request, pieces, true), request, pieces);
  }

  #openHandle(): Handle | undefined {
    return this.#socket.writableEnded ? undefined : (handleOf(this.#socket) ?? undefined);
  }

  #nextRequest(): WriteRequest {
    assert(binding !== undefined, 'direct writes have the binding');
    this.#request ??= new binding.WriteWrap();
    return this.#request;
  }

  #isTaken(
    failure: number,
    request: WriteRequest,
    bytes: Uint8Array | readonly Uint8Array[],
  ): boolean {
    if (failure !== 0) {
      this.#socket.destroy(new Error(`write failed with ${failure}`));
      return true;
    }
    if (binding?.streamBaseState[binding.kLastWriteWasAsync] === 0) return true;
    this.#pending(request, bytes);
    return false;
  }

  /** The kernel's buffer is full: libuv writes the rest when there is room. */
  #pending(request: WriteRequest, bytes: Uint8Array | readonly Uint8Array[]): void {
    const length = lengthOf(bytes);
    this.#request = undefined;
    this.#pendingBytes += length;
    request.buffer = bytes;
    request.oncomplete = (status) => {
      this.#pendingBytes -= length;
      if (status < 0) this.#socket.destroy();
      else if (this.#pendingBytes === 0) this.#drained();
    };
  }
}

function lengthOf(bytes: Uint8Array | readonly Uint8Array[]): number {
  if (bytes instanceof Uint8Array) return bytes.length;
  return bytes.reduce((sum, { length }) => sum + length, 0);
}

/** Whether a SocketWriter writes past the stream of this socket; if not, whoever has a stream anyway may as well use it. */
export function canWriteDirectly(socket: Socket): boolean {
  const handle = handleOf(socket);
  return binding !== undefined && handle?.writeBuffer !== undefined && handle.writev !== undefined;
}

function handleOf(socket: Socket): Handle | null | undefined {
  return (socket as unknown as { readonly _handle?: Handle | null })._handle;
}

function loadBinding(): WriteBinding | undefined {
  try {
    const { binding: load } = process as unknown as { binding(name: string): unknown };
    const found = load('stream_wrap') as Partial<WriteBinding>;
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = found;
    if (WriteWrap === undefined || kLastWriteWasAsync === undefined) return undefined;
    return streamBaseState === undefined ? undefined : (found as WriteBinding);
  } catch {
    return undefined;
  }
}
