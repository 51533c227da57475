import { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { NativeAddon } from '../storage/native-addon.ts';
import type { Reading, StartReading } from './reading.ts';
import { copyToSlab } from './slab-copies.ts';
import { descriptorOf, type SocketHandle, takeHandle } from './socket-handle.ts';
import { readForOthers, readStatically } from './static-reads.ts';

/** What is found in one turn of the event loop goes here; a socket with more comes again in the next one. */
const batchBytes = 256 * 1024;
/** Pairs of numbers for the sockets of one turn: as many as the addon wants. */
const piecesLength = 128;

const nothing = Buffer.alloc(0);
const scratch = Buffer.alloc(4096);

/** How connections of clients are read: by the addon, where there is one. */
export function clientReading(addon: NativeAddon | undefined): StartReading {
  if (addon === undefined) return readStatically;
  const reads = new BatchReads(addon);
  return (accepted, receive) => reads.start(accepted, receive);
}

/**
 * Reads the sockets of all clients together, past libuv and Node's streams: one call from the addon for all that are
 * readable, and no acknowledgement of a request that its answer can carry (docs/decisions/0016-batch-reads.md).
 */
class BatchReads {
  readonly #reader: InstanceType<NativeAddon['SocketReader']>;
  readonly #bytes = Buffer.allocUnsafeSlow(batchBytes);
  readonly #pieces = new Int32Array(piecesLength);
  /** By the number that the addon gave. */
  readonly #readings: (BatchReading | undefined)[] = [];

  constructor(addon: NativeAddon) {
    const { SocketReader } = addon;
    this.#reader = new SocketReader((count) => this.#found(count), this.#bytes, this.#pieces);
  }

  start(accepted: Socket, receive: (bytes: Buffer) => void): Reading {
    const number = this.#add(accepted);
    if (number === undefined) return readStatically(accepted, receive);
    const handle = takeHandle(accepted);
    if (handle === undefined) {
      this.#reader.remove(number);
      return readStatically(accepted, receive);
    }
    const leave = (): void => {
      this.#readings[number] = undefined;
      this.#reader.remove(number);
    };
    const reading = new BatchReading({ handle, reader: this.#reader, number, receive, leave });
    this.#readings[number] = reading;
    reading.resume();
    return reading;
  }

  /** Undefined: it is none that the addon reads. */
  #add(accepted: Socket): number | undefined {
    const descriptor = descriptorOf(accepted);
    if (descriptor === undefined) return undefined;
    try {
      return this.#reader.add(descriptor);
    } catch {
      return undefined;
    }
  }

  #found(count: number): void {
    let start = 0;
    for (let at = 0; at < 2 * count; at += 2) {
      const reading = this.#readings[this.#pieces[at] ?? -1];
      const result = this.#pieces[at + 1] ?? 0;
      if (result <= 0) {
        reading?.ended(result);
        continue;
      }
      const end = start + result;
      reading?.receive(copyToSlab(this.#bytes, start, end));
      start = end;
    }
  }
}

interface BatchReadingParts {
  readonly handle: SocketHandle;
  readonly reader: InstanceType<NativeAddon['SocketReader']>;
  readonly number: number;
  readonly receive: (bytes: Buffer) => void;
  /** The addon must not look at the socket any more. */
  readonly leave: () => void;
}

class BatchReading implements Reading {
  readonly socket: Socket;
  readonly receive: (bytes: Buffer) => void;
  readonly #reader: InstanceType<NativeAddon['SocketReader']>;
  readonly #number: number;
  readonly #leave: () => void;
  #left = false;

  constructor(parts: BatchReadingParts) {
    this.receive = parts.receive;
    this.#reader = parts.reader;
    this.#number = parts.number;
    this.#leave = parts.leave;
    this.socket = new UnreadSocket(parts.handle, () => this.#end());
  }

  pause(): void {
    if (!this.#left) this.#reader.stop(this.#number);
  }

  resume(): void {
    if (!this.#left) this.#reader.start(this.#number);
  }

  readNow(): Buffer | undefined {
    if (this.#left) return undefined;
    const count = this.#reader.take(this.#number, scratch);
    if (count === null) return nothing;
    return count > 0 ? copyToSlab(scratch, 0, count) : undefined;
  }

  handOver(): Socket {
    this.#end();
    return readForOthers(this.socket);
  }

  /** @param result 0: the other side has said all that it will; else a negative errno */
  ended(result: number): void {
    if (result < 0) {
      this.socket.destroy(new Error(`read failed: ${getSystemErrorName(result)}`));
      return;
    }
    // As Node does for a socket that it reads: what is written still leaves.
    this.socket.push(null);
    this.socket.read(0);
  }

  #end(): void {
    if (this.#left) return;
    this.#left = true;
    this.#leave();
  }
}

/** A socket that Node does not read. Calls `beforeClose` while its descriptor is still open. */
class UnreadSocket extends Socket {
  readonly #beforeClose: () => void;

  constructor(handle: SocketHandle, beforeClose: () => void) {
    super({ handle, manualStart: true, readable: true, writable: true } as object);
    this.#beforeClose = beforeClose;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#beforeClose();
    super._destroy(error, callback);
  }
}
