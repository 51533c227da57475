import { longestRecord, SharedRing } from '../base/shared-ring.ts';
import type { NativeAddon } from '../storage/native-addon.ts';

/** Batches as numbers, as far as they can be said in numbers: see MessageNumbers. */
export interface NumberCodec<Out, In> {
  encode(batch: readonly Out[], into: Float64Array, from: number): number;
  decode(from: Float64Array, start: number, end: number): In[];
}

/** A lane as one of its two threads has it. It can be sent to the other thread. */
export interface LaneAddress {
  readonly outgoing: SharedArrayBuffer;
  readonly incoming: SharedArrayBuffer;
  /** Numbers of the two doorbells. */
  readonly ownBell: number;
  readonly otherBell: number;
}

/** The doorbells of native-aio. */
export type Doorbells = Pick<NativeAddon, 'Doorbell' | 'ringDoorbell'>;

let lastBell = 0;

/** A new lane: its address for this thread, and for the other one. */
export function newLane(): { readonly own: LaneAddress; readonly other: LaneAddress } {
  const [outgoing, incoming] = [new SharedRing().memory, new SharedRing().memory];
  const [ownBell, otherBell] = [++lastBell, ++lastBell];
  return {
    own: { outgoing, incoming, ownBell, otherBell },
    other: { outgoing: incoming, incoming: outgoing, ownBell: otherBell, otherBell: ownBell },
  };
}

/**
 * The short way between two threads: rings of numbers in memory that both see, and a doorbell for each. It costs a
 * fraction of what a message port does, and the other thread wakes up once. A port wakes it twice, since it is woken under
 * a lock that it needs.
 */
export class FastLane<Out, In> {
  readonly #doorbells: Doorbells;
  readonly #codec: NumberCodec<Out, In>;
  readonly #outgoing: SharedRing;
  readonly #incoming: SharedRing;
  readonly #bell: { close(): void };
  readonly #otherBell: number;
  readonly #record = new Float64Array(longestRecord);

  /** @param onRing called when something may have come since the last call; look once without, to begin with */
  constructor(
    address: LaneAddress,
    doorbells: Doorbells,
    codec: NumberCodec<Out, In>,
    onRing: () => void,
  ) {
    this.#doorbells = doorbells;
    this.#codec = codec;
    this.#outgoing = new SharedRing(address.outgoing);
    this.#incoming = new SharedRing(address.incoming);
    this.#otherBell = address.otherBell;
    this.#bell = new doorbells.Doorbell(address.ownBell, onRing);
  }

  /** Sends a batch and wakes the other thread; false when it has to go another way. */
  post(sequence: number, batch: readonly Out[]): boolean {
    const record = this.#record;
    const end = this.#codec.encode(batch, record, 1);
    if (end === 0) return false;
    record[0] = sequence;
    if (!this.#outgoing.put(record, end)) return false;
    this.#doorbells.ringDoorbell(this.#otherBell);
    return true;
  }

  /** The oldest batch, if it is the one with this number; undefined when it has not come, or goes another way. */
  take(sequence: number): In[] | undefined {
    if (this.#incoming.first !== sequence) return undefined;
    const end = this.#incoming.take(this.#record);
    return this.#codec.decode(this.#record, 1, end);
  }

  /** `onRing` is not called any more. Idempotent. */
  close(): void {
    this.#bell.close();
  }
}
