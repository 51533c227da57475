import type { MessagePort } from 'node:worker_threads';
import type { Clock, Timer } from '../base/clock.ts';

/** Where messages go: the other end of a pair of ports. */
export type MessageTarget = Pick<MessagePort, 'postMessage'>;

/** Memory that changes hands instead of being copied. */
export type Transfer = readonly ArrayBuffer[];

/** How long a message that nobody waits for may wait for company. */
const LATER_MS = 5;

/**
 * One direction of the talk between the main thread and the Raft thread. A message between threads costs
 * microseconds, and wakes the other one: all that one turn of the event loop says travels as one, in order.
 */
export class RaftChannel<Message> {
  /** Called before what waits is sent: it may still `add`. */
  beforeFlush: () => void = () => {};
  readonly #port: MessageTarget;
  readonly #clock: Clock;
  readonly #flushInTurn = (): void => {
    this.#scheduled = false;
    this.flush();
  };
  #scheduled = false;
  #timer: Timer | undefined;
  #batch: Message[] = [];
  #transfer: ArrayBuffer[] = [];

  constructor(port: MessageTarget, clock: Clock) {
    this.#port = port;
    this.#clock = clock;
  }

  /** Sends at the end of this turn. What is in `transfer` must not be used any more. */
  post(message: Message, transfer: Transfer = []): void {
    this.add(message, transfer);
    this.flushSoon();
  }

  /** Sends with the next message that somebody waits for, or after a few milliseconds. */
  postLater(message: Message, transfer: Transfer = []): void {
    this.add(message, transfer);
    if (this.#scheduled || this.#timer !== undefined) return;
    this.#timer = this.#clock.after(LATER_MS, () => this.flush());
  }

  /** Puts a message behind those that wait. */
  add(message: Message, transfer: Transfer = []): void {
    this.#batch.push(message);
    for (const buffer of transfer) this.#transfer.push(buffer);
  }

  /** Sends at the end of this turn. */
  flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.nextTurn(this.#flushInTurn);
  }

  /** Sends what waits now. */
  flush(): void {
    this.beforeFlush();
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    const transfer = this.#transfer;
    this.#batch = [];
    this.#transfer = [];
    this.#port.postMessage(batch, transfer);
  }
}
