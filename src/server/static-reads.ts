import { Socket } from 'node:net';

/**
 * Reading into memory that stays, instead of 64 KiB that Node allocates for each read and shrinks afterwards: a
 * quarter of what a small request costs. Node offers it (`onread`) for sockets that dial; an accepted one gets it by
 * moving its handle to a new socket. That rests on `socket._handle`, which is no public interface (Node 20 to 24 have
 * it): everything that touches it is in this file, and where it does not work sockets are read the ordinary way.
 */

/** The kernel's socket as Node wraps it: asked only whether it can do what is wanted. */
interface Handle {
  readonly useUserBuffer?: unknown;
}

interface Inside {
  _handle?: Handle | null;
}

/** One for all connections: what is read is consumed before the next read, by whatever socket. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** Small reads are copied next to each other: one allocation for many. */
const slabBytes = 64 * 1024;
let slab = Buffer.allocUnsafeSlow(slabBytes);
let slabEnd = 0;

/** A copy of the first `count` bytes read, for whoever keeps them. */
function kept(count: number): Buffer {
  if (count > slabBytes / 4) return Buffer.from(readBuffer.subarray(0, count));
  if (slabEnd + count > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    slabEnd = 0;
  }
  const start = slabEnd;
  slabEnd += count;
  readBuffer.copy(slab, start, 0, count);
  return slab.subarray(start, slabEnd);
}

/**
 * The socket to go on with in place of `accepted`, which was accepted with `pauseOnConnect` and is not used any more.
 * Calls `receive` with everything that arrives, from now on; the bytes are the callee's.
 */
export function readStatically(accepted: Socket, receive: (bytes: Buffer) => void): Socket {
  const handle = takeHandle(accepted);
  if (handle === undefined) {
    accepted.on('data', receive);
    accepted.resume();
    return accepted;
  }
  const onread = {
    buffer: readBuffer,
    callback(count: number): boolean {
      receive(kept(count));
      return true;
    },
  };
  // Node knows these options, its types only for sockets that dial.
  return new Socket({ handle, onread, readable: true, writable: true } as object);
}

/**
 * A socket that emits `data` as any other does, in place of one of `readStatically`, for another owner. It is read as
 * soon as somebody listens.
 */
export function readForOthers(socket: Socket): Socket {
  socket.pause();
  const handle = takeHandle(socket);
  if (handle === undefined) return socket;
  // Its owner hears `close` and forgets it; the connection is not touched.
  socket.destroy();
  const onread = {
    buffer: readBuffer,
    callback(count: number): boolean {
      other.emit('data', kept(count));
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
  const ordinary = typeof (handle as Handle).useUserBuffer !== 'function';
  // It starts when somebody listens: until then nothing is lost.
  const options = ordinary ? { handle } : { handle, onread, manualStart: true };
  const socket = new Socket(options as object);
  return socket;
}

function takeHandle(socket: Socket): Handle | undefined {
  const inside = socket as unknown as Inside;
  const handle = inside._handle;
  if (typeof handle?.useUserBuffer !== 'function') return undefined;
  inside._handle = null;
  return handle;
}
