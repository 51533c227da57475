import type { Readable } from 'node:stream';
import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { ServerId, Term } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { Outbound, Sender } from '../raft/events.ts';
import type { RaftStore, Transport, TransportEvents } from '../raft/ports.ts';
import type { Configuration, Server, Snapshot } from '../raft/types.ts';
import { PeerConnection } from './peer-connection.ts';
import { type Dial, dialSocket, introduction } from './peer-dial.ts';
import type { PeerLimits } from './peer-limits.ts';
import { type LinkParts, type LinkState, PeerLink } from './peer-link.ts';
import { WarningLimit } from './peer-warnings.ts';

/** What `Peers` is made of. */
export interface PeersParts {
  /** What this server says in CONNECT: its address exactly as in the configuration. */
  readonly self: Sender;
  readonly limits: PeerLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly store: Pick<RaftStore, 'receiveSnapshot'>;
  readonly events: TransportEvents;
  /** How to reach an address; sockets by default. */
  readonly dial?: Dial;
}

/** The links with one other server, for `status`. */
export interface PeerStatus {
  readonly id: ServerId;
  /** Where it is dialled; undefined when nothing was ever sent to it. */
  readonly address: string | undefined;
  /** The link from here to there. */
  readonly outbound: LinkState;
  /** Whether the link from there to here is up. */
  readonly inbound: boolean;
  readonly queuedBytes: number;
  /** Why the outbound link broke or could not be made the last time. */
  readonly lastError: string | undefined;
}

/**
 * The links with the other servers: C dqlite's peer protocol. Each server dials the others and only writes on
 * what it dialled; it reads from the connections that the others dialled. A peer that sends what is no
 * message loses its connection, and nothing else happens.
 */
export class Peers implements Transport {
  readonly #parts: PeersParts;
  readonly #linkParts: LinkParts;
  readonly #warnings: WarningLimit;
  /** In the order of their last use. */
  readonly #links = new Map<ServerId, PeerLink>();
  readonly #inbound = new Map<ServerId, PeerConnection>();
  #members: ReadonlySet<ServerId> = new Set();
  #paused = false;
  #closed = false;

  constructor(parts: PeersParts) {
    this.#parts = parts;
    this.#warnings = new WarningLimit(parts.clock, parts.limits.warningIntervalMs);
    this.#linkParts = {
      introduction: introduction(parts.self),
      limits: parts.limits,
      clock: parts.clock,
      random: parts.random,
      dial: parts.dial ?? dialSocket,
      logger: parts.logger,
      unreachable: (peer) => parts.events.unreachable(peer),
    };
  }

  send({ to, message }: Outbound): void {
    if (this.#closed) return;
    assert(message.kind !== 'installSnapshot', 'snapshots leave by sendSnapshot');
    this.#linkTo(to).send(message);
  }

  flush(): void {
    for (const link of this.#links.values()) link.flush();
  }

  /** Streams a snapshot; resolves to whether it left whole. The caller releases its data. */
  sendSnapshot(to: Server, term: Term, { meta, data }: Snapshot): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    const header = {
      kind: 'installSnapshot',
      term,
      lastIndex: meta.index,
      lastTerm: meta.term,
      configurationIndex: meta.configurationIndex,
      configuration: meta.configuration,
      dataSize: data.sizeBytes,
    } as const;
    return this.#linkTo(to).sendSnapshot(header, data);
  }

  /** This server no longer leads: nobody waits for the snapshots that it is sending. */
  abandonSnapshots(): void {
    for (const link of this.#links.values()) link.abandonSnapshot();
  }

  /**
   * Takes over a connection whose other end sent CONNECT. There is one for each id: a newer one replaces the
   * older. Servers that are not members are let in too (they join, or do not know better), but not many.
   * @param leftover what was read from the stream beyond CONNECT
   */
  adopt(stream: Readable, sender: Sender, leftover: Buffer): void {
    if (this.#closed) return void stream.destroy();
    if (sender.id === 0n || sender.id === this.#parts.self.id) {
      stream.destroy();
      this.#warn(sender, undefined, 'refused a peer with an id that cannot be its own');
      return;
    }
    const { id } = sender;
    const older = this.#inbound.get(id);
    if (older !== undefined) {
      older.destroy();
      this.#inbound.delete(id);
      this.#links.get(id)?.suspect();
    }
    if (!this.#members.has(id)) this.#makeRoomForStranger();
    const connection = new PeerConnection(stream, sender, this.#connectionParts(), (error) => {
      const wasNewest = this.#inbound.get(id) === connection;
      if (wasNewest) this.#inbound.delete(id);
      if (error !== undefined) this.#warn(sender, error, 'closed the connection of a peer');
      if (wasNewest) this.#parts.events.disconnected(id);
    });
    this.#inbound.set(id, connection);
    connection.start(leftover, this.#paused);
  }

  /** The members change: theirs are the connections that are never refused. */
  setMembers({ servers }: Configuration): void {
    this.#members = new Set(servers.map(({ id }) => id));
  }

  /** Stops reading from all peers until `resumeReading`: what they sent is not worked off yet. */
  pauseReading(): void {
    this.#paused = true;
    for (const connection of this.#inbound.values()) connection.pause();
  }

  resumeReading(): void {
    this.#paused = false;
    for (const connection of this.#inbound.values()) connection.resume();
  }

  /** Every server that is or was linked with this one. */
  status(): PeerStatus[] {
    const ids = new Set([...this.#links.keys(), ...this.#inbound.keys()]);
    return [...ids].map((id) => {
      const link = this.#links.get(id);
      return {
        id,
        address: link?.address,
        outbound: link?.state ?? 'idle',
        inbound: this.#inbound.has(id),
        queuedBytes: link?.queuedBytes ?? 0,
        lastError: link?.lastError?.message,
      };
    });
  }

  /** Closes every connection. */
  close(): void {
    this.#closed = true;
    for (const link of this.#links.values()) link.close();
    for (const connection of this.#inbound.values()) connection.destroy();
    this.#links.clear();
    this.#inbound.clear();
  }

  #linkTo({ id, address }: Outbound['to']): PeerLink {
    let link = this.#links.get(id);
    this.#links.delete(id);
    if (link === undefined) {
      this.#makeRoomForLink();
      link = new PeerLink(id, address, this.#linkParts);
    }
    this.#links.set(id, link);
    link.moveTo(address);
    return link;
  }

  #makeRoomForLink(): void {
    const [oldest] = this.#links;
    if (this.#links.size < this.#parts.limits.links || oldest === undefined) return;
    oldest[1].close();
    this.#links.delete(oldest[0]);
  }

  #makeRoomForStranger(): void {
    const strangers = [...this.#inbound.values()].filter(
      ({ sender }) => !this.#members.has(sender.id),
    );
    const [oldest] = strangers;
    if (strangers.length < this.#parts.limits.strangers || oldest === undefined) return;
    oldest.destroy();
    this.#inbound.delete(oldest.sender.id);
    this.#warn(oldest.sender, undefined, 'too many peers that are not members: closed the oldest');
  }

  #connectionParts(): ConstructorParameters<typeof PeerConnection>[2] {
    const { limits, clock, store, events } = this.#parts;
    return {
      limits,
      clock,
      store,
      events: {
        received: (from, message) => {
          this.#links.get(from.id)?.heard();
          events.received(from, message);
        },
        snapshotArriving: (from, term) => events.snapshotArriving(from, term),
      },
    };
  }

  #warn(sender: Sender, error: Error | undefined, message: string): void {
    if (!this.#warnings.allows(sender.id)) return;
    const reason = error?.message;
    this.#parts.logger.warn({ peer: sender.id, address: sender.address, reason }, message);
  }
}
