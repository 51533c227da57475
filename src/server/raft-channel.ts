import type { MessagePort } from 'node:worker_threads';
import type { Clock } from '../base/clock.ts';

/** Where messages go: the other end of a pair of ports. */
export type MessageTarget = Pick<MessagePort, 'postMessage'>;

/** Memory that changes hands instead of being copied. */
export type Transfer = readonly ArrayBuffer[];

/**
 * One direction of the talk between the main thread and the Raft thread. A message between threads costs
 * microseconds: all that one turn of the event loop says travels as one, in order.
 */
export class RaftChannel<Message> {
  readonly #port: MessageTarget;
  readonly #clock: Clock;
  #batch: Message[] = [];
  #transfer: ArrayBuffer[] = [];

  constructor(port: MessageTarget, clock: Clock) {
    this.#port = port;
    this.#clock = clock;
  }

  /** Sends at the end of this turn. What is in `transfer` must not be used any more. */
  post(message: Message, transfer: Transfer = []): void {
    if (this.#batch.length === 0) this.#clock.nextTurn(() => this.flush());
    this.#batch.push(message);
    for (const buffer of transfer) this.#transfer.push(buffer);
  }

  /** Sends what waits now. */
  flush(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    const transfer = this.#transfer;
    this.#batch = [];
    this.#transfer = [];
    this.#port.postMessage(batch, transfer);
  }
}
