import type { Socket } from 'node:net';

/**
 * The kernel's socket as Node wraps it. `socket._handle` is no public interface (Node 20 to 24 have it): whoever uses it to
 * read gets it here, and where it is not as expected sockets are read the ordinary way.
 */
export interface SocketHandle {
  /** There where memory to read into can be given. */
  readonly useUserBuffer?: unknown;
  /** The descriptor; -1 when it is closed. */
  readonly fd?: number;
}

interface Inside {
  _handle?: SocketHandle | null;
}

/** The descriptor of a socket that is open. Undefined where Node does not tell. */
export function descriptorOf(socket: Socket): number | undefined {
  const descriptor = (socket as unknown as Inside)._handle?.fd ?? -1;
  return descriptor < 0 ? undefined : descriptor;
}

/** The handle, which `socket` has no more. Undefined, and nothing happened, where it cannot be read into given memory. */
export function takeHandle(socket: Socket): SocketHandle | undefined {
  const inside = socket as unknown as Inside;
  const handle = inside._handle;
  if (!canReadIntoMemory(handle)) return undefined;
  inside._handle = null;
  return handle;
}

/** Whether Node reads it into memory that is given (`onread`). */
export function canReadIntoMemory(handle: SocketHandle | null | undefined): handle is SocketHandle {
  return typeof handle?.useUserBuffer === 'function';
}
