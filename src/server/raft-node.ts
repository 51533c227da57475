import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import type { Instant, Term } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { Driver } from '../raft/driver.ts';
import type { Applied, Persist, Sender, Settlement, Ticket } from '../raft/events.ts';
import type { RaftOptions } from '../raft/options.ts';
import type { RaftStore, StateMachine } from '../raft/ports.ts';
import type { RaftStatus } from '../raft/status.ts';
import { AppendTimes } from './append-times.ts';
import type { Dial } from './peer-dial.ts';
import type { PeerLimits } from './peer-limits.ts';
import { type PeerStatus, Peers } from './peers.ts';
import { Backlog } from './raft-backlog.ts';
import type { RaftRequest } from './raft-consensus.ts';

/** What can be set about one server's part in Raft. Plain data: it may cross to another thread. */
export interface RaftNodeOptions {
  /** Id and address, the latter exactly as in the configuration. */
  readonly self: Sender;
  readonly raft: RaftOptions;
  readonly peers: PeerLimits;
  /** Bytes from peers that may wait for the disk and for the machine; then nothing more is read from them. */
  readonly backlogBytes: number;
}

/** What a node is made of. */
export interface RaftNodeParts {
  readonly store: RaftStore;
  readonly machine: StateMachine;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onSettle: (settlement: Settlement) => void;
  /** Until when local reads of the leadership of `term` are linearizable. */
  readonly onLease: (until: Instant, term: Term) => void;
  /** The disk or the machine failed: the process must stop. */
  readonly fatal: (error: unknown) => void;
  /** How to reach other servers; sockets by default. */
  readonly dial?: Dial;
}

/** What a server knows of itself and of the others. */
export interface RaftNodeStatus {
  /** undefined until the log is loaded. */
  readonly raft: RaftStatus | undefined;
  readonly peers: readonly PeerStatus[];
  /** See RaftNodeOptions. */
  readonly backlogBytes: number;
  /** How long appends to the log of this server take lately; undefined before the first. */
  readonly appendMs: number | undefined;
}

/** An idle connection whose other end vanished is noticed by the kernel, which probes from then on. */
const KEEP_ALIVE_AFTER_MS = 3000;

const never = Number.NEGATIVE_INFINITY as Instant;

/** Raft, its log and its links, on whichever thread it is made. */
export class RaftNode {
  readonly #parts: RaftNodeParts;
  readonly #peers: Peers;
  readonly #driver: Driver;
  readonly #backlog: Backlog;
  readonly #appendTimes = new AppendTimes();
  #stopped = false;
  #restoring = 0;
  #heldBytes = 0;

  constructor(options: RaftNodeOptions, parts: RaftNodeParts) {
    this.#parts = parts;
    this.#backlog = new Backlog(
      options.backlogBytes,
      () => this.#peers.pauseReading(),
      () => this.#peers.resumeReading(),
    );
    const { clock, random, logger, store, dial } = parts;
    this.#peers = new Peers({
      self: options.self,
      limits: options.peers,
      clock,
      random,
      logger,
      store,
      events: {
        received: (from, message) => this.#driver.received(from, message),
        disconnected: (peer) => this.#driver.disconnected(peer),
        unreachable: (peer) => this.#driver.unreachable(peer),
        snapshotArriving: (from, term) => this.#driver.snapshotArriving(from, term),
      },
      ...(dial === undefined ? {} : { dial }),
    });
    this.#driver = new Driver({
      options: options.raft,
      store: this.#countedStore(),
      transport: this.#peers,
      machine: this.#watchedMachine(),
      clock,
      random,
      logger,
      onSettle: parts.onSettle,
      onLease: parts.onLease,
      fatal: parts.fatal,
    });
  }

  /** Loads the log, restores the newest snapshot into the machine and takes part from then on. */
  start(): Promise<void> {
    return this.#driver.start();
  }

  request(request: RaftRequest): void {
    switch (request.type) {
      case 'propose':
        this.#driver.propose(request.term, [request]);
        return;
      case 'read':
        this.#driver.read(request.ticket);
        return;
      case 'change':
        this.#driver.change(request.ticket, request.change);
        return;
      case 'transfer':
        this.#driver.transfer(request.ticket, request.to);
        return;
    }
  }

  /** Commands of one leadership that came together. */
  propose(
    term: Term,
    proposals: readonly { readonly ticket: Ticket; readonly command: Buffer }[],
  ): void {
    this.#driver.propose(term, proposals);
  }

  /** Until when local reads are linearizable here. */
  get leaseUntil(): Instant {
    return this.#stopped ? never : this.#driver.leaseUntil;
  }

  /** Takes over a connection whose other end sent CONNECT. */
  adopt(stream: Readable, sender: Sender, leftover: Buffer): void {
    if (stream instanceof Socket) stream.setKeepAlive(true, KEEP_ALIVE_AFTER_MS);
    this.#peers.adopt(stream, sender, leftover);
  }

  /** Bytes that a machine elsewhere has yet to apply. */
  handedOut(bytes: number): void {
    this.#backlog.add(bytes);
  }

  /** Bytes that it has applied since. */
  applied(bytes: number): void {
    this.#backlog.remove(bytes);
  }

  status(): RaftNodeStatus {
    return {
      raft: this.#driver.status(),
      peers: this.#peers.status(),
      backlogBytes: this.#backlog.bytes,
      appendMs: this.#appendTimes.milliseconds(this.#parts.clock.now()),
    };
  }

  /** Takes no more part, closes the links and, when the writes under way are done, the store. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#parts.onLease(never, 0 as Term);
    const idle = this.#driver.stop();
    this.#peers.close();
    await idle;
    await this.#parts.store.close();
  }

  #countedStore(): RaftStore {
    const { clock, store } = this.#parts;
    return {
      ...(store.space === undefined ? {} : { space: store.space }),
      load: () => store.load(),
      persist: async (write) => {
        // A leader's own commands are not the peers' fault, and their answers are wanted all the more.
        const bytes = this.#driver.transition?.state === 'leader' ? 0 : bytesOf(write);
        const isAppend = write.append.length > 0 && write.snapshot === undefined;
        this.#backlog.add(bytes);
        if (isAppend) this.#appendTimes.began(clock.now());
        await store.persist(write);
        if (isAppend) this.#appendTimes.ended(clock.now());
        this.#backlog.remove(bytes);
      },
      writeSnapshot: (snapshot) => store.writeSnapshot(snapshot),
      openSnapshot: (meta) => store.openSnapshot(meta),
      receiveSnapshot: (meta, chunks) => store.receiveSnapshot(meta, chunks),
      close: () => store.close(),
    };
  }

  /** The machine, with an eye on what it holds back while a snapshot is restored, and on the members. */
  #watchedMachine(): StateMachine {
    const { machine } = this.#parts;
    return {
      apply: (entries) => {
        machine.apply(entries);
        if (this.#restoring === 0) return;
        const bytes = dataBytes(entries);
        this.#heldBytes += bytes;
        this.#backlog.add(bytes);
      },
      transition: (transition) => {
        this.#peers.setMembers(transition.configuration);
        if (transition.state !== 'leader') this.#peers.abandonSnapshots();
        machine.transition(transition);
      },
      takeSnapshot: () => machine.takeSnapshot(),
      restore: async (snapshot) => {
        this.#restoring++;
        await machine.restore(snapshot);
        this.#restoring--;
        if (this.#restoring > 0) return;
        const held = this.#heldBytes;
        this.#heldBytes = 0;
        this.#backlog.remove(held);
      },
    };
  }
}

function bytesOf(write: Persist): number {
  let bytes = 0;
  for (const { data } of write.append) bytes += data.length;
  return bytes;
}

function dataBytes(entries: readonly Applied[]): number {
  let bytes = 0;
  for (const { entry } of entries) bytes += entry.data.length;
  return bytes;
}
