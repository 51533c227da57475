import type { Socket } from 'node:net';

/**
 * Writing past the stream that Node wraps around a socket: an answer nearly always fits into the kernel's buffer,
 * and then the stream's bookkeeping is more work than the answer. Rests on `socket._handle` and on
 * `process.binding('stream_wrap')`, which are no public interface (Node 20 to 24 have them): everything that touches
 * them for writing is in this file, and where they are not as expected the stream is used.
 */

interface WriteRequest {
  /** Keeps the bytes alive until they are written. */
  buffer?: Uint8Array;
  oncomplete?: (status: number) => void;
}

interface WriteBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kLastWriteWasAsync: number;
}

interface Handle {
  /** 0, or a negative error number. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
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
    this.#direct = binding !== undefined && typeof handleOf(socket)?.writeBuffer === 'function';
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
    const socket = this.#socket;
    if (!this.#direct || binding === undefined) {
      socket.write(bytes);
      return false;
    }
    const handle = handleOf(socket);
    if (handle == null || socket.writableEnded) return true;
    this.#request ??= new binding.WriteWrap();
    const request = this.#request;
    const failure = handle.writeBuffer(request, bytes);
    if (failure !== 0) {
      socket.destroy(new Error(`write failed with ${failure}`));
      return true;
    }
    if (binding.streamBaseState[binding.kLastWriteWasAsync] === 0) return true;
    this.#pending(request, bytes);
    return false;
  }

  /** The kernel's buffer is full: libuv writes the rest when there is room. */
  #pending(request: WriteRequest, bytes: Uint8Array): void {
    this.#request = undefined;
    this.#pendingBytes += bytes.length;
    request.buffer = bytes;
    request.oncomplete = (status) => {
      this.#pendingBytes -= bytes.length;
      if (status < 0) this.#socket.destroy();
      else if (this.#pendingBytes === 0) this.#drained();
    };
  }
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
