import { encodePeerMessage, type WirePeerMessage } from '../protocol/peer-messages.ts';
import type { PeerLimits } from './peer-limits.ts';

interface Waiting {
  readonly kind: WirePeerMessage['kind'];
  readonly carriesEntries: boolean;
  /** Undefined once a newer message took its place. */
  bytes: Buffer | undefined;
}

/**
 * Messages that wait for one peer, encoded. Entries are copied: the memory of the log they come from may be
 * reused before the kernel takes them.
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
    const bytes = Buffer.concat(encodePeerMessage(message));
    // A single message always fits, else one that is longer than the whole queue could never leave.
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#limits.queuedBytes) return false;
    const waiting = { kind: message.kind, carriesEntries, bytes };
    this.#waiting.push(waiting);
    this.#bytes += bytes.length;
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
      if (waiting.bytes !== undefined && !waiting.carriesEntries) newest.set(waiting.kind, waiting);
    }
    this.clear();
    for (const waiting of newest.values()) {
      this.#waiting.push(waiting);
      this.#bytes += waiting.bytes?.length ?? 0;
      if (waiting.kind === 'appendEntries') this.#heartbeat = waiting;
    }
  }

  /** Removes and returns the oldest messages, at least one and about `limitBytes`; none when the queue is empty. */
  take(limitBytes: number): Buffer[] {
    const taken: Buffer[] = [];
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      const length = waiting.bytes?.length ?? 0;
      if (taken.length > 0 && bytes + length > limitBytes) break;
      count++;
      bytes += length;
      if (waiting.bytes !== undefined) taken.push(waiting.bytes);
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
    this.#waiting = this.#waiting.filter((waiting) => waiting.bytes !== undefined);
  }

  #remove(waiting: Waiting): void {
    this.#bytes -= waiting.bytes?.length ?? 0;
    waiting.bytes = undefined;
  }
}
