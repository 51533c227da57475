import { Socket } from 'node:net';
import { readNow } from './read-now.ts';
import type { Reading } from './reading.ts';
import { copyToSlab } from './slab-copies.ts';
import { canReadIntoMemory, takeHandle } from './socket-handle.ts';

/**
 * Reading into memory that stays, instead of 64 KiB that Node allocates for each read and shrinks afterwards: a
 * quarter of what a small request costs. Node offers it (`onread`) for sockets that dial; an accepted one gets it by
 * moving its handle to a new socket. Where that does not work sockets are read the ordinary way.
 */

/** One for all connections: what is read is consumed before the next read, by whatever socket. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** Reads one socket by itself, through Node's stream. */
export function readStatically(accepted: Socket, receive: (bytes: Buffer) => void): Reading {
  const socket = statically(accepted, receive);
  return {
    socket,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    readNow: () => readNow(socket),
    handOver: () => {
      socket.pause();
      return readForOthers(socket);
    },
  };
}

function statically(accepted: Socket, receive: (bytes: Buffer) => void): Socket {
  const handle = takeHandle(accepted);
  if (handle === undefined) {
    accepted.on('data', receive);
    accepted.resume();
    return accepted;
  }
  const onread = {
    buffer: readBuffer,
    callback(count: number): boolean {
      receive(copyToSlab(readBuffer, 0, count));
      return true;
    },
  };
  // Node knows these options, its types only for sockets that dial.
  return new Socket({ handle, onread, readable: true, writable: true } as object);
}

/**
 * A socket that emits `data` as any other does, in place of one that is not read any more. It is read as soon as somebody
 * listens.
 */
export function readForOthers(socket: Socket): Socket {
  const handle = takeHandle(socket);
  if (handle === undefined) return socket;
  // Its owner hears `close` and forgets it; the connection is not touched.
  socket.destroy();
  const onread = {
    buffer: readBuffer,
    callback(count: number): boolean {
      other.emit('data', copyToSlab(readBuffer, 0, count));
      return true;
    },
  };
  const options = { handle, onread, manualStart: true, readable: true, writable: true };
  const other = new Socket(options as object);
  return other;
}

/** Memory that a connection of another server is read into, without a copy: messages stay there as long as the log. */
const peerSlabBytes = 1024 * 1024;
/** A slab with less room than this is not read into any more. */
const smallestReadBytes = 64 * 1024;

/**
 * A socket on a handle for a stream of large messages: emits `data` as any other does, with views of memory that is
 * never written again.
 */
export function readIntoSlabs(handle: object): Socket {
  let room = Buffer.alloc(0);
  const onread = {
    buffer(): Buffer {
      if (room.length < smallestReadBytes) room = Buffer.allocUnsafeSlow(peerSlabBytes);
      return room;
    },
    callback(count: number): boolean {
      const bytes = room.subarray(0, count);
      room = room.subarray(count);
      socket.emit('data', bytes);
      return true;
    },
  };
  const ordinary = !canReadIntoMemory(handle);
  // It starts when somebody listens: until then nothing is lost.
  const options = ordinary ? { handle } : { handle, onread, manualStart: true };
  const socket = new Socket(options as object);
  return socket;
}
