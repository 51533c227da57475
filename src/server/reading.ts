import type { Socket } from 'node:net';

/** The reading side of an accepted socket, which is read in no other way. */
export interface Reading {
  /** Carries the connection: for everything but reading, and in place of the socket that was accepted. */
  readonly socket: Socket;
  /** Nothing is received until `resume`. */
  pause(): void;
  resume(): void;
  /**
   * What has arrived, without waiting for the event loop to deliver it: empty when nothing has, undefined when the
   * other end is gone. `receive` does not get it again.
   */
  readNow(): Buffer | undefined;
  /**
   * A socket that emits `data` as any other does, for another owner: it is read as soon as somebody listens. The one of
   * this reading emits `close`.
   */
  handOver(): Socket;
}

/**
 * Begins to read a socket that was accepted with `pauseOnConnect` and is not used any more. Calls `receive` with everything
 * that arrives; the bytes are the callee's.
 */
export type StartReading = (accepted: Socket, receive: (bytes: Buffer) => void) => Reading;
