import type { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { assert, unreachable } from '../base/assert.ts';
import { channels } from '../base/channels.ts';
import type { Clock } from '../base/clock.ts';
import type { Term } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Sender, Settlement, Ticket } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';
import { DescriptorSender } from './peer-handover.ts';
import { RelaySender } from './peer-relay.ts';
import { RaftChannel } from './raft-channel.ts';
import type { RaftAccess, RaftRequest } from './raft-consensus.ts';
import { SharedLease } from './raft-lease.ts';
import {
  type AppliedBatch,
  batchProposals,
  type FromRaft,
  type RaftThreadData,
  type ToRaft,
  unbatchApplied,
  unpackError,
} from './raft-messages.ts';
import type { RaftNodeStatus } from './raft-node.ts';
import { SnapshotBorrower, SnapshotLender } from './raft-snapshot-stream.ts';

/** Whom the thread of Raft works for. */
export interface RaftThreadParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The thread failed or ended by itself: the process must stop. Called once. */
  readonly fatal: (error: Error) => void;
}

interface StatusWaiting {
  resolve(status: RaftNodeStatus): void;
  reject(error: Error): void;
}

/** The compiled thread beside the compiled file, the source beside the source. */
const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './raft-worker.ts' : './raft-worker.js',
  import.meta.url,
);

/**
 * The main thread's end of a Raft that runs in a thread of its own: nothing that SQL does here keeps it from
 * answering the other servers in time.
 */
export class RaftThread implements RaftAccess {
  readonly #parts: RaftThreadParts;
  readonly #worker: Worker;
  readonly #channel: RaftChannel<ToRaft>;
  readonly #lease: SharedLease;
  readonly #descriptors = new DescriptorSender();
  readonly #relay: RelaySender;
  readonly #lender: SnapshotLender;
  readonly #borrower: SnapshotBorrower;
  readonly #statusWaiting = new Map<number, StatusWaiting>();
  #machine: StateMachine | undefined;
  #onSettle: (settlement: Settlement) => void = () => {};
  #proposals: { ticket: Ticket; command: Buffer }[] = [];
  #proposalTerm = 0 as Term;
  #lastNumber = 0;
  #stopping = false;
  #over = false;
  #started: { resolve(): void; reject(error: Error): void } | undefined;
  #stopped: () => void = () => {};

  constructor(options: Omit<RaftThreadData, 'handover' | 'lease'>, parts: RaftThreadParts) {
    this.#parts = parts;
    this.#lease = new SharedLease(parts.clock);
    const workerData: RaftThreadData = {
      ...options,
      handover: this.#descriptors.address,
      lease: this.#lease.memory,
    };
    this.#worker = new Worker(ENTRY, { name: 'raft', workerData });
    this.#channel = new RaftChannel(this.#worker, parts.clock);
    this.#relay = new RelaySender((message) => this.#channel.post({ type: 'relay', message }));
    this.#lender = new SnapshotLender((message, transfer) =>
      this.#channel.post({ type: 'mainSnapshot', message }, transfer),
    );
    this.#borrower = new SnapshotBorrower((message) =>
      this.#channel.post({ type: 'raftSnapshot', message }),
    );
    this.#worker.on('message', (batch: readonly FromRaft[]) => {
      for (const message of batch) this.#receive(message);
    });
    this.#worker.on('error', (error: Error) => this.#fail(error));
    this.#worker.on('messageerror', (error) => this.#fail(error));
    this.#worker.on('exit', (code) => this.#exited(code));
  }

  /** Resolves when the log is loaded and the machine restored; the machine is driven from then on. */
  async start(machine: StateMachine, onSettle: (settlement: Settlement) => void): Promise<void> {
    this.#machine = machine;
    this.#onSettle = onSettle;
    await new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#channel.post({ type: 'start' });
    });
    if (await this.#descriptors.works()) return;
    this.#descriptors.close();
    this.#parts.logger.warn(
      {},
      'peer connections cannot change threads here: their bytes are relayed',
    );
  }

  leaseHeld(): boolean {
    return this.#lease.held();
  }

  request(request: RaftRequest): void {
    if (request.type !== 'propose') {
      this.#closeBatch();
      this.#channel.post(request);
      return;
    }
    if (this.#proposals.length > 0 && this.#proposalTerm !== request.term) this.#closeBatch();
    if (this.#proposals.length === 0) {
      this.#proposalTerm = request.term;
      this.#parts.clock.nextTurn(() => {
        this.#closeBatch();
        this.#channel.flush();
      });
    }
    this.#proposals.push(request);
  }

  /** Hands over a connection whose other end sent CONNECT; it lives on in the other thread. */
  adopt(socket: Socket, sender: Sender, leftover: Buffer): void {
    const number = ++this.#lastNumber;
    const unread = this.#descriptors.send(number, socket);
    const relayed = unread === undefined;
    if (relayed) this.#relay.add(number, socket);
    const bytes = new Uint8Array(relayed ? leftover : Buffer.concat([leftover, unread]));
    this.#channel.post({ type: 'adopt', number, sender, leftover: bytes, relayed });
  }

  /** Rejects when the thread has ended. */
  status(): Promise<RaftNodeStatus> {
    if (this.#over || this.#stopping) return Promise.reject(new Error('Raft has stopped'));
    const request = ++this.#lastNumber;
    return new Promise((resolve, reject) => {
      this.#statusWaiting.set(request, { resolve, reject });
      this.#channel.post({ type: 'status', request });
    });
  }

  /** Ends the thread once the writes under way are done. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#closeBatch();
    if (!this.#over) {
      await new Promise<void>((resolve) => {
        this.#stopped = resolve;
        this.#channel.post({ type: 'stop' });
        this.#channel.flush();
      });
    }
    this.#end();
    this.#descriptors.close();
    this.#relay.close();
    this.#lender.close();
    await this.#worker.terminate();
  }

  #closeBatch(): void {
    if (this.#proposals.length === 0) return;
    const batch = batchProposals(this.#proposalTerm, this.#proposals);
    this.#proposals = [];
    this.#channel.post(batch, [batch.data]);
  }

  #receive(message: FromRaft): void {
    if (this.#over) return;
    switch (message.type) {
      case 'apply':
        this.#apply(message);
        return;
      case 'transition':
        this.#machineToDrive().transition(message.transition);
        return;
      case 'takeSnapshot':
        this.#takeSnapshot(message.request);
        return;
      case 'restore':
        return void this.#restore(message);
      case 'settle':
        this.#onSettle(message.settlement);
        return;
      case 'started':
        this.#started?.resolve();
        this.#started = undefined;
        return;
      case 'probed':
        this.#descriptors.confirmed();
        return;
      case 'relay':
        this.#relay.receive(message.message);
        return;
      case 'raftSnapshot':
        this.#borrower.receive(message.message);
        return;
      case 'mainSnapshot':
        this.#lender.receive(message.message);
        return;
      case 'log':
        this.#parts.logger[message.level](message.fields, message.message);
        return;
      case 'published':
        channels[message.channel].publish(message.payload as never);
        return;
      case 'status':
        this.#statusWaiting.get(message.request)?.resolve(message.status);
        this.#statusWaiting.delete(message.request);
        return;
      case 'fatal':
        this.#fail(unpackError(message.error));
        return;
      case 'stopped':
        this.#stopped();
        return;
      default:
        unreachable(message);
        return;
    }
  }

  #machineToDrive(): StateMachine {
    assert(this.#machine !== undefined, 'the machine is driven from the start on');
    return this.#machine;
  }

  #apply(batch: AppliedBatch): void {
    const bytes = batch.data.byteLength;
    this.#machineToDrive().apply(unbatchApplied(batch));
    if (bytes > 0) this.#channel.post({ type: 'applied', bytes });
  }

  /** Pins the state now, in order; its bytes are fetched by and by. */
  #takeSnapshot(request: number): void {
    const data = this.#machineToDrive().takeSnapshot();
    const snapshot = this.#lender.lend(data);
    const { sizeBytes } = data;
    this.#channel.post({ type: 'snapshotReady', request, snapshot, sizeBytes });
  }

  async #restore(message: Extract<FromRaft, { type: 'restore' }>): Promise<void> {
    const { request, meta, snapshot, sizeBytes } = message;
    let error: string | undefined;
    try {
      const data = this.#borrower.borrow(snapshot, sizeBytes);
      await this.#machineToDrive().restore({ meta, data });
    } catch (failure) {
      error = failure instanceof Error ? failure.message : String(failure);
    }
    if (!this.#over) this.#channel.post({ type: 'restored', request, error });
  }

  /** Nothing comes from the thread any more. */
  #end(): void {
    this.#over = true;
    for (const { reject } of this.#statusWaiting.values()) reject(new Error('Raft has stopped'));
    this.#statusWaiting.clear();
  }

  #exited(code: number): void {
    if (this.#stopping) this.#stopped();
    else this.#fail(new Error(`the Raft thread ended with code ${code}`));
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#end();
    this.#stopped();
    if (this.#started === undefined) {
      this.#parts.fatal(error);
      return;
    }
    const { reject } = this.#started;
    this.#started = undefined;
    reject(error);
  }
}
