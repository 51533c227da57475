import type { MessagePort, TransferListItem, Worker } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { loadNativeAddon } from '../storage/native-addon.ts';
import { FastLane, type LaneAddress } from './fast-lane.ts';
import type { MessageTarget } from './raft-channel.ts';
import { MessageNumbers } from './raft-message-numbers.ts';
import type { FromRaft, ToRaft } from './raft-messages.ts';
import { SharedMemoryAccount } from './shared-memory-account.ts';

/** What a port carries: a batch, and how many were posted before it, whichever way they went. */
interface Letter<Message> {
  readonly sequence: number;
  readonly batch: readonly Message[];
}

/**
 * Batches of messages to and from another thread, in order: by a fast lane what can be said in numbers, if there is one,
 * and by the port all else.
 */
export class ThreadPort<Out extends ToRaft | FromRaft, In extends ToRaft | FromRaft>
  implements MessageTarget
{
  readonly #port: MessagePort | Worker;
  readonly #address: LaneAddress | undefined;
  readonly #outgoing = new MessageNumbers<Out>();
  readonly #incoming = new MessageNumbers<In>();
  #lane: FastLane<Out, In> | undefined;
  #held: SharedMemoryAccount | undefined;
  #receive: (batch: readonly In[]) => void = () => {};
  #sent = 0;
  #received = 0;

  /** @param lane of this thread; the other thread has the other end */
  constructor(port: MessagePort | Worker, lane: LaneAddress | undefined) {
    this.#port = port;
    this.#address = lane;
  }

  /** Calls `receive` with each batch that the other thread has posted or will. Once, before anything is posted here. */
  listen(receive: (batch: readonly In[]) => void): void {
    this.#receive = receive;
    this.#port.on('message', (letter: Letter<In>) => this.#arrived(letter));
    if (this.#address === undefined) return;
    const { addon } = loadNativeAddon();
    assert(addon !== undefined, 'there is a lane where there is the addon');
    this.#held = new SharedMemoryAccount((bytes) => addon.adjustExternalMemory(bytes));
    const codec = {
      encode: this.#outgoing.encode.bind(this.#outgoing),
      decode: this.#incoming.decode.bind(this.#incoming),
    };
    this.#lane = new FastLane(this.#address, addon, codec, () => this.#drain());
    // What came before the bell hung rang for nobody.
    this.#drain();
  }

  postMessage(batch: unknown, transfer?: readonly TransferListItem[] | object): void {
    const messages = batch as readonly Out[];
    const sequence = ++this.#sent;
    if (this.#lane?.post(sequence, messages) === true) return;
    this.#outgoing.seen(messages);
    const letter: Letter<Out> = { sequence, batch: messages };
    this.#port.postMessage(letter, transfer as readonly TransferListItem[]);
  }

  /** Nothing comes by the lane any more. Idempotent. */
  close(): void {
    this.#lane?.close();
  }

  /** The two ways know nothing of each other: the numbers restore the order. */
  #arrived({ sequence, batch }: Letter<In>): void {
    this.#drain();
    assert(sequence === this.#received + 1, 'the lane has what was posted before');
    this.#received = sequence;
    this.#incoming.seen(batch);
    for (const message of batch) {
      if (message.type !== 'propose') continue;
      for (const { memory } of message.pieces) this.#held?.add(memory);
    }
    this.#receive(batch);
    this.#drain();
  }

  /** Receives what has come by the lane, up to what was posted behind a letter that has not arrived. */
  #drain(): void {
    for (;;) {
      const batch = this.#lane?.take(this.#received + 1);
      if (batch === undefined) return;
      this.#received++;
      this.#receive(batch);
    }
  }
}
