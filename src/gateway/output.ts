/**
 * The way back to one client; the transport implements it over a socket. The transport calls the session's
 * `receive`, `drained` and `closed`, and hears of everything else here.
 */
export interface Output {
  /**
   * Sends bytes, in order. True: it needs them no more, their memory may be used again. False: they belong to it from now
   * on and are never changed.
   */
  write(bytes: Uint8Array): boolean;
  /**
   * Bytes written and not yet taken by the network. After it was seen above a high-water mark the session
   * waits for `drained`, which the transport calls whenever it falls to 0.
   */
  readonly bufferedBytes: number;
  /**
   * Bytes that the network has for us now, for a session whose statement keeps the event loop from delivering
   * them: empty when there are none, undefined when the client is gone. `receive` does not get them again.
   */
  readNow(): Buffer | undefined;
  /** Stop reading from the client until `resumeReading`: enough of its requests are waiting. */
  pauseReading(): void;
  resumeReading(): void;
  /** Close the connection at once, without waiting for a client that does not read. The session has ended. */
  close(): void;
  /**
   * The client said CONNECT: it is another server and this stream carries Raft from now on. `rest` are the
   * bytes that came behind the request. The session has ended.
   */
  becomePeer(id: bigint, address: string, rest: Buffer): void;
}
