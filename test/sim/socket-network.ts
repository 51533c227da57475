import { Duplex } from 'node:stream';
import { nullLogger } from '../../src/base/logger.ts';
import type { Random } from '../../src/base/random.ts';
import type { ServerId } from '../../src/raft/types.ts';
import { introduction } from '../../src/server/peer-dial.ts';
import { type PeerLimits, peerLimits } from '../../src/server/peer-limits.ts';
import { RaftNode } from '../../src/server/raft-node.ts';
import type { Host } from './host.ts';
import type { Network, NetworkOptions, RaftParts, RaftProcess } from './network.ts';
import { Paths } from './paths.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What a kernel takes before a writer has to wait. */
const windowBytes = 4096;
/** How often a connection that is cut looks whether it is whole again. */
const retransmitMs = 5;

/** One end of a simulated connection. */
class SimulatedSocket extends Duplex {
  readonly host: Host;
  /** The process that it belongs to. */
  readonly run: number;
  other: SimulatedSocket | undefined;
  /** When the newest bytes that were sent arrive. */
  arrivesAt = 0;
  underWayBytes = 0;
  /** Oldest first. */
  readonly underWay: Buffer[] = [];
  whenTaken: (() => void) | undefined;
  readonly #send: (from: SimulatedSocket, bytes: Buffer, taken: () => void) => void;
  readonly #closed: (from: SimulatedSocket) => void;

  constructor(
    host: Host,
    send: (from: SimulatedSocket, bytes: Buffer, taken: () => void) => void,
    closed: (from: SimulatedSocket) => void,
  ) {
    super({ autoDestroy: true });
    this.host = host;
    this.run = host.run;
    this.#send = send;
    this.#closed = closed;
  }

  /** Its process is there and has not closed it. */
  get alive(): boolean {
    return !this.destroyed && this.host.run === this.run;
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#send(this, Buffer.from(bytes), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#closed(this);
    done(error);
  }
}

/** The daemon's own links, from Raft to the bytes, over connections that are slow, stall and break. */
export class SocketNetwork implements Network {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #options: NetworkOptions;
  readonly #log: (id: ServerId, line: () => string) => void;
  readonly #nodes = new Map<string, { readonly host: Host; readonly node: RaftNode }>();
  readonly #sockets = new Set<SimulatedSocket>();
  readonly #paths: Paths;

  constructor(
    clock: VirtualClock,
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
    const { clock, fatal, machine, onLease, onSettle, options, random, store } = parts;
    const { address, id } = host;
    const node = new RaftNode(
      {
        self: { id, address },
        raft: options,
        peers: limitsFor(options.electionTimeoutMs),
        backlogBytes: 2048,
      },
      {
        store,
        machine,
        clock,
        random,
        logger: nullLogger,
        onSettle,
        onLease,
        fatal,
        dial: (to) => this.#dial(host, to),
      },
    );
    this.#nodes.set(address, { host, node });
    return node;
  }

  died(host: Host, how: 'power cut' | 'kill'): void {
    this.#nodes.delete(host.address);
    for (const socket of this.#sockets) {
      if (socket.host !== host) continue;
      this.#sockets.delete(socket);
      const { other } = socket;
      // After a power cut the other end learns of it when it next hears from the address, or from its own watch.
      const longestMs = how === 'kill' ? this.#options.maxDelayMs : 500;
      if (other !== undefined) {
        this.#clock.after(this.#random.int(0, longestMs), () => this.#reset(other));
      }
    }
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

  calm(): void {
    this.#paths.calm();
  }

  breakLink(from: ServerId, to: ServerId): void {
    for (const socket of this.#sockets) {
      if (socket.host.id !== from || socket.other?.host.id !== to) continue;
      this.#log(from, () => `connection with ${to} breaks`);
      const { other } = socket;
      this.#reset(socket);
      this.#reset(other);
    }
  }

  #dial(from: Host, address: string): Duplex {
    const client = this.#socket(from);
    const hereMs = this.#paths.delayMs(from.id, from.id);
    this.#clock.after(hereMs, () => {
      const target = this.#nodes.get(address);
      if (!client.alive || (target !== undefined && this.#paths.isCut(from.id, target.host.id)))
        return;
      if (target === undefined) {
        this.#reset(client);
        return;
      }
      const server = this.#socket(target.host);
      client.other = server;
      server.other = client;
      this.#accept(server, from);
      this.#clock.after(this.#paths.delayMs(target.host.id, from.id), () => {
        if (client.alive) from.clock.arrive(() => void client.emit('connect'));
      });
    });
    return client;
  }

  /** The listener reads the introduction, then the links get the connection. */
  #accept(server: SimulatedSocket, from: Host): void {
    const { address, id } = from;
    let missing = introduction({ id, address }).length;
    const adopt = (bytes: Buffer) => {
      const taken = Math.min(missing, bytes.length);
      missing -= taken;
      if (missing > 0) return;
      server.off('data', adopt);
      server.pause();
      const node = this.#nodes.get(server.host.address)?.node;
      node?.adopt(server, { id, address }, bytes.subarray(taken));
    };
    server.on('data', adopt);
    server.on('error', () => {});
  }

  #socket(host: Host): SimulatedSocket {
    const socket = new SimulatedSocket(
      host,
      (from, bytes, taken) => this.#send(from, bytes, taken),
      (from) => this.#closed(from),
    );
    this.#sockets.add(socket);
    return socket;
  }

  #send(from: SimulatedSocket, bytes: Buffer, taken: () => void): void {
    const now = this.#clock.now();
    const to = from.other?.host.id ?? from.host.id;
    from.arrivesAt = Math.max(from.arrivesAt, now + this.#paths.delayMs(from.host.id, to));
    from.underWayBytes += bytes.length;
    from.underWay.push(bytes);
    if (from.underWayBytes <= windowBytes) taken();
    else from.whenTaken = taken;
    this.#clock.after(from.arrivesAt - now, () => this.#arrive(from));
    if (this.#paths.happens(this.#options.lossPercent) && this.#paths.happens(10)) {
      const { other } = from;
      this.#clock.after(0, () => {
        this.#reset(from);
        this.#reset(other);
      });
    }
  }

  #arrive(from: SimulatedSocket): void {
    const { other } = from;
    if (other === undefined || !other.alive) return;
    if (this.#paths.isCut(from.host.id, other.host.id)) {
      this.#clock.after(retransmitMs, () => this.#arrive(from));
      return;
    }
    const bytes = from.underWay.shift();
    if (bytes === undefined) return;
    from.underWayBytes -= bytes.length;
    const { whenTaken } = from;
    if (whenTaken !== undefined && from.underWayBytes <= windowBytes) {
      from.whenTaken = undefined;
      if (from.alive) from.host.clock.arrive(whenTaken);
    }
    other.host.clock.arrive(() => {
      if (other.alive) other.push(bytes);
    });
  }

  /** One end was closed: the other hears of it, behind what is on its way. */
  #closed(socket: SimulatedSocket): void {
    this.#sockets.delete(socket);
    const { other } = socket;
    if (other === undefined) return;
    const now = this.#clock.now();
    const delayMs = this.#paths.delayMs(socket.host.id, other.host.id);
    const afterMs = Math.max(0, socket.arrivesAt - now) + delayMs;
    const tell = () => {
      if (this.#paths.isCut(socket.host.id, other.host.id)) this.#clock.after(retransmitMs, tell);
      else this.#reset(other);
    };
    this.#clock.after(afterMs, tell);
  }

  #reset(socket: SimulatedSocket | undefined): void {
    if (socket?.alive !== true) return;
    socket.host.clock.arrive(() => {
      if (socket.alive) socket.destroy(new Error('connection reset'));
    });
  }
}

/** The daemon's limits for a cluster that is as much faster as its election timeout is shorter, and small enough to be met. */
function limitsFor(electionTimeoutMs: number): PeerLimits {
  return {
    ...peerLimits(electionTimeoutMs),
    connectTimeoutMs: electionTimeoutMs,
    firstRetryMs: 4,
    longestRetryMs: electionTimeoutMs,
    stableAfterMs: electionTimeoutMs,
    writeTimeoutMs: 4 * electionTimeoutMs,
    silenceTimeoutMs: 3 * electionTimeoutMs,
    restoreTimeoutMs: 10 * electionTimeoutMs,
    queuedBytes: 16 * 1024,
    queuedMessages: 100,
    writeBytes: 512,
    snapshotQueuedBytes: 128,
  };
}
