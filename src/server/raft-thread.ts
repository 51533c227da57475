import type { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { channels } from '../base/channels.ts';
import type { Clock } from '../base/clock.ts';
import type { Term } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Sender, Settlement } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';
import { loadNativeAddon } from '../storage/native-addon.ts';
import { newLane } from './fast-lane.ts';
import { DescriptorSender } from './peer-handover.ts';
import { RelaySender } from './peer-relay.ts';
import type { RaftAccess, RaftRequest } from './raft-consensus.ts';
import { SharedLease } from './raft-lease.ts';
import { MainEnd } from './raft-main-end.ts';
import { type FromRaft, type RaftThreadData, type ToRaft, unpackError } from './raft-messages.ts';
import type { RaftNodeStatus } from './raft-node.ts';
import { ThreadPort } from './thread-port.ts';

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
 * A Raft that runs in a thread of its own: nothing that SQL does here keeps it from answering the other servers in
 * time.
 */
export class RaftThread implements RaftAccess {
  readonly #parts: RaftThreadParts;
  readonly #worker: Worker;
  readonly #port: ThreadPort<ToRaft, FromRaft>;
  readonly #main: MainEnd;
  readonly #descriptors = new DescriptorSender();
  readonly #relay: RelaySender;
  readonly #statusWaiting = new Map<number, StatusWaiting>();
  #lastNumber = 0;
  #stopping = false;
  #over = false;
  #started: { resolve(): void; reject(error: Error): void } | undefined;
  #stopped: () => void = () => {};

  constructor(
    options: Omit<RaftThreadData, 'handover' | 'lease' | 'lane'>,
    parts: RaftThreadParts,
  ) {
    this.#parts = parts;
    const lease = new SharedLease(parts.clock);
    const lane = loadNativeAddon().addon === undefined ? undefined : newLane();
    const workerData: RaftThreadData = {
      ...options,
      handover: this.#descriptors.address,
      lease: lease.memory,
      lane: lane?.other,
    };
    this.#worker = new Worker(ENTRY, { name: 'raft', workerData });
    this.#port = new ThreadPort(this.#worker, lane?.own);
    this.#main = new MainEnd(this.#port, parts.clock, lease);
    this.#relay = new RelaySender((message) => this.#post({ type: 'relay', message }));
    this.#port.listen((batch) => {
      for (const message of batch) this.#receive(message);
    });
    this.#worker.on('error', (error: Error) => this.#fail(error));
    this.#worker.on('messageerror', (error) => this.#fail(error));
    this.#worker.on('exit', (code) => this.#exited(code));
  }

  /** Resolves when the log is loaded and the machine restored; the machine is driven from then on. */
  async start(machine: StateMachine, onSettle: (settlement: Settlement) => void): Promise<void> {
    this.#main.drive(machine, onSettle);
    await new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#post({ type: 'start' });
    });
    if (await this.#descriptors.works()) return;
    this.#descriptors.close();
    this.#parts.logger.warn(
      {},
      'peer connections cannot change threads here: their bytes are relayed',
    );
  }

  leaseHeld(term: Term): boolean {
    return this.#main.leaseHeld(term);
  }

  request(request: RaftRequest): void {
    this.#main.request(request);
  }

  /** Hands over a connection whose other end sent CONNECT; it lives on in the other thread. */
  adopt(socket: Socket, sender: Sender, leftover: Buffer): void {
    const number = ++this.#lastNumber;
    const unread = this.#descriptors.send(number, socket);
    const relayed = unread === undefined;
    if (relayed) this.#relay.add(number, socket);
    const bytes = new Uint8Array(relayed ? leftover : Buffer.concat([leftover, unread]));
    this.#post({ type: 'adopt', number, sender, leftover: bytes, relayed });
  }

  /** Rejects when the thread has ended. */
  status(): Promise<RaftNodeStatus> {
    if (this.#over || this.#stopping) return Promise.reject(new Error('Raft has stopped'));
    const request = ++this.#lastNumber;
    return new Promise((resolve, reject) => {
      this.#statusWaiting.set(request, { resolve, reject });
      this.#post({ type: 'status', request });
    });
  }

  /** Ends the thread once the writes under way are done. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#main.flush();
    if (!this.#over) {
      await new Promise<void>((resolve) => {
        this.#stopped = resolve;
        this.#post({ type: 'stop' });
        this.#main.flush();
      });
    }
    this.#end();
    this.#descriptors.close();
    this.#relay.close();
    await this.#worker.terminate();
  }

  #post(message: ToRaft): void {
    this.#main.channel.post(message);
  }

  #receive(message: FromRaft): void {
    if (this.#over) return;
    switch (message.type) {
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
        this.#main.receive(message);
    }
  }

  /** Nothing comes from the thread any more. */
  #end(): void {
    this.#over = true;
    this.#port.close();
    this.#main.close();
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
