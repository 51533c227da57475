import { unreachable } from '../../src/base/assert.ts';
import type { Clock } from '../../src/base/clock.ts';
import type { Random } from '../../src/base/random.ts';
import { describeMessage } from '../../src/raft/describe.ts';
import { Driver } from '../../src/raft/driver.ts';
import type { Outbound } from '../../src/raft/events.ts';
import type { PeerMessage } from '../../src/raft/messages.ts';
import type { RaftStore } from '../../src/raft/ports.ts';
import type { ServerId, Snapshot, SnapshotMeta, Term } from '../../src/raft/types.ts';
import { SnapshotInflow } from '../../src/server/peer-snapshot-inflow.ts';
import type { RaftRequest } from '../../src/server/raft-consensus.ts';
import type { Host } from './host.ts';
import type { Network, NetworkOptions, RaftParts, RaftProcess } from './network.ts';
import { nameOf, Paths } from './paths.ts';

/** One direction between two servers. */
interface Link {
  /** What is on its way, oldest first; `links` only. */
  readonly underWay: PeerMessage[];
  lastArrival: number;
  brokenUntil: number;
}

/** A snapshot on its way. */
interface Stream {
  readonly from: ServerId;
  readonly to: ServerId;
  readonly inflow: SnapshotInflow;
  broken: boolean;
}

/** A network that carries messages, one by one or on links that keep their order. */
export class MessageNetwork implements Network {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: NetworkOptions;
  readonly #hosts = new Map<ServerId, Host>();
  readonly #drivers = new Map<ServerId, { readonly driver: Driver; readonly store: RaftStore }>();
  readonly #links = new Map<string, Link>();
  readonly #paths: Paths;
  readonly #streams = new Set<Stream>();
  readonly #log: (id: ServerId, line: () => string) => void;

  constructor(
    clock: Clock,
    random: Random,
    options: NetworkOptions,
    log: (id: ServerId, line: () => string) => void,
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#paths = new Paths(random, options);
    this.#log = log;
  }

  createRaft(host: Host, parts: RaftParts): RaftProcess {
    const driver = new Driver({
      ...parts,
      transport: {
        send: (outbound) => {
          parts.sending(outbound);
          this.#send(host.id, outbound);
        },
        flush: () => {},
        sendSnapshot: (to, term, snapshot) => this.#sendSnapshot(host.id, to.id, term, snapshot),
      },
    });
    this.#hosts.set(host.id, host);
    this.#drivers.set(host.id, { driver, store: parts.store });
    return {
      start: () => driver.start(),
      request: (request) => ask(driver, request),
      propose: (term, proposals) => driver.propose(term, proposals),
      handedOut: () => {},
      applied: () => {},
      get leaseUntil() {
        return driver.leaseUntil;
      },
    };
  }

  calm(): void {
    this.#paths.calm();
  }

  cut(from: ServerId, to: ServerId): void {
    this.#paths.cut(from, to);
  }

  slow(from: ServerId, to: ServerId, byMs: number): void {
    this.#paths.slow(from, to, byMs);
  }

  heal(): void {
    this.#paths.heal();
  }

  #send(from: ServerId, { to, message }: Outbound): void {
    this.#log(from, () => `sends ${to.id}: ${describeMessage(message)}`);
    const { kind, lossPercent, duplicatePercent } = this.#options;
    if (kind === 'links') {
      this.#sendOnLink(from, to.id, message);
      return;
    }
    if (this.#paths.isCut(from, to.id) || this.#paths.happens(lossPercent)) return;
    this.#deliver(from, to.id, message);
    if (this.#paths.happens(duplicatePercent)) this.#deliver(from, to.id, message);
  }

  breakLink(from: ServerId, to: ServerId): void {
    const link = this.#link(from, to);
    const kept = this.#random.int(0, link.underWay.length);
    this.#log(from, () => `link to ${to} breaks, ${link.underWay.length - kept} messages are lost`);
    link.underWay.length = kept;
    link.brokenUntil = this.#clock.now() + this.#random.int(1, 40);
    this.#breakStreams((stream) => stream.from === from && stream.to === to);
    this.#clock.after(this.#random.int(0, 20), () => this.#unreachable(from, to));
  }

  died({ id }: Host): void {
    this.#drivers.delete(id);
    this.#breakStreams((stream) => stream.from === id || stream.to === id);
    for (const other of this.#hosts.keys()) {
      if (other === id) continue;
      const { underWay } = this.#link(id, other);
      underWay.length = this.#random.int(0, underWay.length);
      if (this.#options.kind === 'links') this.breakLink(other, id);
    }
  }

  /** Streams a snapshot in small pieces; any piece may be the last. */
  async #sendSnapshot(
    from: ServerId,
    to: ServerId,
    term: Term,
    { meta, data }: Snapshot,
  ): Promise<boolean> {
    const sender = this.#hosts.get(from);
    if (sender === undefined || (await this.#blocked(sender, to))) return false;
    const stream = { from, to, inflow: new SnapshotInflow(() => {}), broken: false };
    this.#streams.add(stream);
    this.#log(from, () => `streams its snapshot of ${meta.index} to ${to}`);
    if (!this.#receive(stream, term, meta)) stream.broken = true;
    for await (const chunk of data.chunks()) {
      const ends =
        (await this.#blocked(sender, to)) || this.#paths.happens(this.#options.lossPercent);
      if (ends) this.#breakStreams((other) => other === stream);
      if (stream.broken) break;
      stream.inflow.push(Buffer.from(chunk));
      this.#arriving(stream, term);
    }
    this.#streams.delete(stream);
    if (stream.broken) return false;
    stream.inflow.end();
    return true;
  }

  /** Waits as long as a message takes; true when nothing passes. */
  async #blocked(sender: Host, to: ServerId): Promise<boolean> {
    await new Promise<void>((resolve) =>
      sender.clock.after(this.#paths.delayMs(sender.id, to), resolve),
    );
    return this.#paths.isCut(sender.id, to);
  }

  /** False when nobody is there. */
  #receive(stream: Stream, term: Term, meta: SnapshotMeta): boolean {
    const target = this.#drivers.get(stream.to);
    if (target === undefined) return false;
    const from = this.#senderOf(stream.from);
    target.store.receiveSnapshot(meta, stream.inflow).then(
      (snapshot) => target.driver.received(from, { kind: 'installSnapshot', term, snapshot }),
      () => this.#log(stream.to, () => 'a snapshot ends in the middle'),
    );
    return true;
  }

  #arriving(stream: Stream, term: Term): void {
    const target = this.#hosts.get(stream.to);
    // In a turn of its own: what goes wrong there is none of the sender's business.
    this.#clock.nextTurn(() => {
      target?.clock.arrive(() => {
        const driver = this.#drivers.get(stream.to)?.driver;
        driver?.snapshotArriving(this.#senderOf(stream.from), term);
      });
    });
  }

  #breakStreams(which: (stream: Stream) => boolean): void {
    for (const stream of this.#streams) {
      if (!which(stream) || stream.broken) continue;
      stream.broken = true;
      stream.inflow.fail(new Error('the connection ended in the middle of a snapshot'));
      this.#streams.delete(stream);
    }
  }

  #sendOnLink(from: ServerId, to: ServerId, message: PeerMessage): void {
    const link = this.#link(from, to);
    const now = this.#clock.now();
    if (link.brokenUntil > now) return;
    if (this.#paths.happens(this.#options.lossPercent) && this.#paths.happens(20)) {
      this.breakLink(from, to);
      return;
    }
    const arrivesAt = Math.max(link.lastArrival, now + this.#paths.delayMs(from, to));
    link.lastArrival = arrivesAt;
    link.underWay.push(message);
    this.#clock.after(arrivesAt - now, () => this.#flush(from, to, link));
  }

  /** A cut holds up what is on its way, as TCP does; it comes late, in order. */
  #flush(from: ServerId, to: ServerId, link: Link): void {
    const next = link.underWay[0];
    if (next === undefined) return;
    if (this.#paths.isCut(from, to)) {
      this.#clock.after(5, () => this.#flush(from, to, link));
      return;
    }
    link.underWay.shift();
    this.#arrive(from, to, next);
  }

  #deliver(from: ServerId, to: ServerId, message: PeerMessage): void {
    this.#clock.after(this.#paths.delayMs(from, to), () => this.#arrive(from, to, message));
  }

  #arrive(from: ServerId, to: ServerId, message: PeerMessage): void {
    const target = this.#hosts.get(to);
    if (target === undefined || !this.#drivers.has(to)) return;
    target.clock.arrive(() => {
      this.#log(to, () => `receives from ${from}: ${describeMessage(message)}`);
      this.#drivers.get(to)?.driver.received(this.#senderOf(from), message);
    });
  }

  #unreachable(from: ServerId, to: ServerId): void {
    if (!this.#drivers.has(from)) return;
    this.#hosts.get(from)?.clock.arrive(() => {
      this.#log(from, () => `unreachable ${to}`);
      this.#drivers.get(from)?.driver.unreachable(to);
    });
  }

  #senderOf(id: ServerId): { readonly id: ServerId; readonly address: string } {
    return { id, address: this.#hosts.get(id)?.address ?? '' };
  }

  #link(from: ServerId, to: ServerId): Link {
    const name = nameOf(from, to);
    let link = this.#links.get(name);
    if (link === undefined) {
      link = { underWay: [], lastArrival: 0, brokenUntil: 0 };
      this.#links.set(name, link);
    }
    return link;
  }
}

function ask(driver: Driver, request: RaftRequest): void {
  switch (request.type) {
    case 'propose':
      driver.propose(request.term, [request]);
      return;
    case 'read':
      driver.read(request.ticket);
      return;
    case 'change':
      driver.change(request.ticket, request.change);
      return;
    case 'transfer':
      driver.transfer(request.ticket, request.to);
      return;
    default:
      unreachable(request);
  }
}
