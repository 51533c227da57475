import type { TransferListItem } from 'node:worker_threads';
import type { Clock } from '../../src/base/clock.ts';
import type { Random } from '../../src/base/random.ts';
import type { MessageTarget } from '../../src/server/raft-channel.ts';
import type { HostClock } from './host-clock.ts';

/** How long messages wait until a thread looks at them. Times in milliseconds. */
export interface PortOptions {
  readonly maxDelayMs: number;
  /** How many of a hundred messages find the thread busy, and for how long at most. */
  readonly busyPercent: number;
  readonly maxBusyMs: number;
}

/**
 * Where one thread of a host sends what the other is to hear: in order, some time later, as copies, and what was
 * transferred is gone here. What comes to the other thread in other ways may overtake it.
 */
export class SimulatedPort<Message> implements MessageTarget {
  readonly #world: Clock;
  /** Of the thread that receives. */
  readonly #clock: HostClock;
  readonly #random: Random;
  readonly #options: PortOptions;
  readonly #receive: (message: Message) => void;
  /** Oldest first. */
  readonly #underWay: Message[][] = [];
  #calm = false;
  #arrivesAt = 0;

  constructor(
    world: Clock,
    clock: HostClock,
    random: Random,
    options: PortOptions,
    receive: (message: Message) => void,
  ) {
    this.#world = world;
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#receive = receive;
  }

  postMessage(batch: unknown, transfer?: readonly TransferListItem[] | object): void {
    const options = { transfer: (transfer ?? []) as ArrayBuffer[] };
    this.#underWay.push(structuredClone(batch as Message[], options));
    const now = this.#world.now();
    this.#arrivesAt = Math.max(this.#arrivesAt, now + this.#delayMs());
    const arrive = this.#clock.ofThisLife(() => {
      // Not its own: a rounding of times must not change the order.
      for (const message of this.#underWay.shift() ?? []) this.#receive(message);
    });
    this.#world.after(this.#arrivesAt - now, arrive);
  }

  /** What is sent from now on is not looked at before so much time has passed. */
  holdUp(byMs: number): void {
    this.#arrivesAt = Math.max(this.#arrivesAt, this.#world.now() + byMs);
  }

  /** From now on nobody is busy for long. */
  calm(): void {
    this.#calm = true;
  }

  #delayMs(): number {
    const { busyPercent, maxBusyMs, maxDelayMs } = this.#options;
    const busy = !this.#calm && this.#random.int(0, 99) < busyPercent;
    return this.#random.int(0, (busy ? maxBusyMs : maxDelayMs) * 100) / 100;
  }
}
