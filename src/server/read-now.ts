import { readSync } from 'node:fs';
import type { Socket } from 'node:net';
import { descriptorOf } from './socket-handle.ts';

const nothing = Buffer.alloc(0);
const scratch = Buffer.alloc(4096);

/**
 * What has arrived on a socket, without waiting for the event loop to deliver it: empty when nothing has, undefined
 * when the other end is gone. Only while the socket flows: a paused one may hold earlier bytes itself.
 *
 * libuv keeps its descriptors non-blocking, and reads from where the kernel is: what is taken here, it does not see.
 * Without access to the descriptor the answer is always "nothing", and a statement ends by its deadline alone.
 */
export function readNow(socket: Socket): Buffer | undefined {
  const descriptor = descriptorOf(socket);
  if (descriptor === undefined || socket.isPaused() || socket.readableLength > 0) return nothing;
  try {
    const count = readSync(descriptor, scratch, 0, scratch.length, null);
    return count === 0 ? undefined : Buffer.from(scratch.subarray(0, count));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? nothing : undefined;
  }
}
