import { encodePeerMessage, type WirePeerMessage } from '../protocol/peer-messages.ts';
import type { PeerLimits } from './peer-limits.ts';

interface Waiting {
  readonly kind: WirePeerMessage['kind'];
  readonly carriesEntries: boolean;
  readonly sizeBytes: number;
  /** Undefined once a newer message took its place. */
  pieces: readonly Buffer[] | undefined;
}

/**
 * Messages that wait for one peer, encoded. Entries are not copied: they lie in memory that is never written again, and
 * that lives as long as somebody refers to it.
 */
export class PeerQueue {
  readonly #limits: Pick<PeerLimits, 'queuedBytes' | 'queuedMessages'>;
  #waiting: Waiting[] = [];
  #heartbeat: Waiting | undefined;
  #bytes = 0;
  #holding = false;

  constructor(limits: Pick<PeerLimits, 'queuedBytes' | 'queuedMessages'>) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Appends a message; false when it was dropped because the queue is full. A newer heartbeat replaces an older one. */
  push(message: WirePeerMessage): boolean {
    const carriesEntries = message.kind === 'appendEntries' && message.entries.length > 0;
    const isHeartbeat = message.kind === 'appendEntries' && !carriesEntries;
    if (this.#holding) this.#removeKind(message.kind);
    else if (isHeartbeat && this.#heartbeat !== undefined) this.#remove(this.#heartbeat);
    if (this.#waiting.length >= this.#limits.queuedMessages) return false;
    const pieces = encodePeerMessage(message);
    let sizeBytes = 0;
    for (const { length } of pieces) sizeBytes += length;
    // A single message always fits, else one that is longer than the whole queue could never leave.
    if (this.#bytes > 0 && this.#bytes + sizeBytes > this.#limits.queuedBytes) return false;
    const waiting = { kind: message.kind, carriesEntries, sizeBytes, pieces };
    this.#waiting.push(waiting);
    this.#bytes += sizeBytes;
    if (isHeartbeat) this.#heartbeat = waiting;
    return true;
  }

  /** While nothing can leave, only the newest message of each kind is worth keeping. */
  set holding(holding: boolean) {
    this.#holding = holding;
  }

  /** Drops what a peer that lost messages before it would refuse: everything but the newest message of each kind without entries. */
  keepNewest(): void {
    const newest = new Map<string, Waiting>();
    for (const waiting of this.#waiting) {
      if (waiting.pieces !== undefined && !waiting.carriesEntries)
        newest.set(waiting.kind, waiting);
    }
    this.clear();
    for (const waiting of newest.values()) {
      this.#waiting.push(waiting);
      this.#bytes += waiting.sizeBytes;
      if (waiting.kind === 'appendEntries') this.#heartbeat = waiting;
    }
  }

  /**
   * Removes and returns the oldest messages in pieces, at least one and about `limitBytes`; none when the queue is
   * empty.
   */
  take(limitBytes: number): Buffer[] {
    const taken: Buffer[] = [];
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      const { pieces } = waiting;
      if (pieces !== undefined) {
        if (taken.length > 0 && bytes + waiting.sizeBytes > limitBytes) break;
        bytes += waiting.sizeBytes;
        for (const piece of pieces) taken.push(piece);
      }
      count++;
      if (waiting === this.#heartbeat) this.#heartbeat = undefined;
    }
    this.#waiting.splice(0, count);
    this.#bytes -= bytes;
    return taken;
  }

  clear(): void {
    this.#waiting = [];
    this.#heartbeat = undefined;
    this.#bytes = 0;
  }

  #removeKind(kind: Waiting['kind']): void {
    for (const waiting of this.#waiting) {
      if (waiting.kind === kind) this.#remove(waiting);
    }
    this.#waiting = this.#waiting.filter((waiting) => waiting.pieces !== undefined);
  }

  #remove(waiting: Waiting): void {
    if (waiting.pieces !== undefined) this.#bytes -= waiting.sizeBytes;
    waiting.pieces = undefined;
  }
}
