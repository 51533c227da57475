import type { Readable } from 'node:stream';
import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { WireError } from '../base/errors.ts';
import { PeerFramer, type PeerItem } from '../protocol/peer-framer.ts';
import type { InstallSnapshotHeader } from '../protocol/peer-messages.ts';
import type { Sender } from '../raft/events.ts';
import type { RaftStore, TransportEvents } from '../raft/ports.ts';
import type { PeerLimits } from './peer-limits.ts';
import { SnapshotInflow } from './peer-snapshot-inflow.ts';

/** What all inbound connections of a server share. */
export interface ConnectionParts {
  readonly limits: PeerLimits;
  readonly clock: Clock;
  readonly store: Pick<RaftStore, 'receiveSnapshot'>;
  readonly events: Omit<TransportEvents, 'unreachable' | 'disconnected'>;
}

/** Raft need not hear more often than this that a snapshot is still arriving. */
const ARRIVING_INTERVAL_MS = 50;

/**
 * The connection that another server dialled: its messages, one after the other. Nothing is ever sent on it.
 * Bytes that are no messages end it.
 */
export class PeerConnection {
  readonly sender: Sender;
  readonly #stream: Readable;
  readonly #parts: ConnectionParts;
  readonly #ended: (error: Error | undefined) => void;
  readonly #framer = new PeerFramer();
  #over = false;
  /** The server takes no messages from anyone for the moment. */
  #paused = false;
  #installing:
    | { readonly header: InstallSnapshotHeader; readonly inflow: SnapshotInflow }
    | undefined;
  /** The last byte of a snapshot came; what follows waits until it is stored. */
  #storing = false;
  #arrivingAt = Number.NEGATIVE_INFINITY;

  /** @param ended runs once, with an error when the peer broke the protocol; not after `destroy` */
  constructor(
    stream: Readable,
    sender: Sender,
    parts: ConnectionParts,
    ended: (error: Error | undefined) => void,
  ) {
    this.#stream = stream;
    this.sender = sender;
    this.#parts = parts;
    this.#ended = ended;
  }

  /** Takes over the stream. @param leftover what was read from it beyond CONNECT */
  start(leftover: Buffer, paused: boolean): void {
    this.#paused = paused;
    this.#stream.on('data', (chunk: Buffer) => this.#received(chunk));
    this.#stream.on('error', () => this.#end(undefined));
    this.#stream.on('close', () => this.#end(undefined));
    this.#stream.on('end', () => this.#end(undefined));
    if (leftover.length > 0) this.#framer.push(leftover);
    this.#goOn();
  }

  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#goOn();
  }

  destroy(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.destroy();
    this.#installing?.inflow.fail(new Error('the connection ended in the middle of a snapshot'));
  }

  #received(chunk: Buffer): void {
    this.#framer.push(chunk);
    this.#goOn();
  }

  /** Handles what is there as far as it may, and reads on if it may. */
  #goOn(): void {
    while (this.#mayHandle()) {
      const item = this.#nextItem();
      if (item === undefined) break;
      this.#handle(item);
    }
    if (this.#over) return;
    if (this.#mayHandle()) this.#stream.resume();
    else this.#stream.pause();
  }

  /** Bytes that are no message end the connection; nothing else that goes wrong is caught here. */
  #nextItem(): PeerItem | undefined {
    try {
      return this.#framer.next();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#end(error);
      return undefined;
    }
  }

  #mayHandle(): boolean {
    if (this.#over || this.#paused || this.#storing) return false;
    const queuedBytes = this.#installing?.inflow.queuedBytes ?? 0;
    return queuedBytes < this.#parts.limits.snapshotQueuedBytes;
  }

  #handle(item: PeerItem): void {
    if (item.kind === 'installSnapshot') {
      this.#startSnapshot(item);
      return;
    }
    if (item.kind !== 'snapshotChunk') {
      this.#parts.events.received(this.sender, item);
      return;
    }
    const installing = this.#installing;
    assert(installing !== undefined, 'the framer yields snapshot bytes behind their header only');
    this.#arriving(installing.header);
    if (item.bytes.length > 0) installing.inflow.push(item.bytes);
    if (!item.last) return;
    this.#storing = true;
    installing.inflow.end();
  }

  #startSnapshot(header: InstallSnapshotHeader): void {
    const inflow = new SnapshotInflow(() => this.#goOn());
    this.#installing = { header, inflow };
    this.#arrivingAt = Number.NEGATIVE_INFINITY;
    this.#arriving(header);
    const meta = {
      index: header.lastIndex,
      term: header.lastTerm,
      configuration: header.configuration,
      configurationIndex: header.configurationIndex,
    };
    this.#parts.store.receiveSnapshot(meta, inflow).then(
      (snapshot) => {
        if (this.#over) return snapshot.data.release();
        this.#installing = undefined;
        this.#storing = false;
        const message = { kind: 'installSnapshot', term: header.term, snapshot } as const;
        this.#parts.events.received(this.sender, message);
        this.#goOn();
      },
      (error) => this.#end(error as Error),
    );
  }

  #arriving({ term }: InstallSnapshotHeader): void {
    const now = this.#parts.clock.now();
    if (now - this.#arrivingAt < ARRIVING_INTERVAL_MS) return;
    this.#arrivingAt = now;
    this.#parts.events.snapshotArriving(this.sender, term);
  }

  #end(error: Error | undefined): void {
    if (this.#over) return;
    this.destroy();
    this.#ended(error);
  }
}
