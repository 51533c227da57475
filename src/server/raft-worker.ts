import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { channels } from '../base/channels.ts';
import { nodeClock } from './node-clock.ts';
import { DescriptorReceiver } from './peer-handover.ts';
import { RelayReceiver } from './peer-relay.ts';
import type { RaftChannel } from './raft-channel.ts';
import { SharedLease } from './raft-lease.ts';
import { type FromRaft, packError, type RaftThreadData, type ToRaft } from './raft-messages.ts';
import { RaftNode } from './raft-node.ts';
import { awaitingSnapshots, NodeEnd } from './raft-node-end.ts';
import { randomFromSystem } from './raft-random.ts';
import { openRaftStore } from './raft-storage.ts';
import { ThreadLogger } from './raft-thread-logger.ts';
import { ThreadPort } from './thread-port.ts';

/** A connection of which one half has come: what main says about it, or its descriptor. */
type Adoption = Extract<ToRaft, { type: 'adopt' }>;

/** The Raft thread: the node, and its talk with the main thread. */
class RaftWorker {
  readonly #parent: MessagePort;
  readonly #port: ThreadPort<FromRaft, ToRaft>;
  readonly #channel: RaftChannel<FromRaft>;
  readonly #end: NodeEnd;
  readonly #node: RaftNode;
  readonly #relay: RelayReceiver;
  readonly #descriptors: DescriptorReceiver;
  readonly #sockets = new Map<number, Socket>();
  readonly #adoptions = new Map<number, Adoption>();

  constructor(parent: MessagePort, data: RaftThreadData) {
    this.#parent = parent;
    const lease = new SharedLease(nodeClock, data.lease);
    this.#port = new ThreadPort(parent, data.lane);
    this.#end = new NodeEnd(this.#port, nodeClock, lease, (parts, channel) => {
      const logger = new ThreadLogger(channel, data.logLevel);
      return new RaftNode(data.options, {
        ...parts,
        store: awaitingSnapshots(openRaftStore(data.storage, nodeClock, logger)),
        clock: nodeClock,
        random: randomFromSystem(),
        logger,
        fatal: (error) => this.#fatal(error),
      });
    });
    const { channel, node } = this.#end;
    this.#channel = channel;
    this.#node = node;
    this.#relay = new RelayReceiver((message) => channel.post({ type: 'relay', message }));
    this.#descriptors = new DescriptorReceiver(data.handover, {
      probed: () => channel.post({ type: 'probed' }),
      received: (number, socket) => this.#received(number, socket),
    });
    channels.snapshot.subscribe((payload) =>
      channel.post({ type: 'published', channel: 'snapshot', payload }),
    );
    this.#port.listen((batch) => {
      for (const message of batch) this.#receive(message);
    });
  }

  #receive(message: ToRaft): void {
    switch (message.type) {
      case 'start':
        return void this.#start();
      case 'adopt':
        this.#adopt(message);
        return;
      case 'relay':
        this.#relay.receive(message.message);
        return;
      case 'status':
        this.#channel.post({
          type: 'status',
          request: message.request,
          status: this.#node.status(),
        });
        return;
      case 'stop':
        return void this.#stop();
      default:
        this.#end.receive(message);
    }
  }

  async #start(): Promise<void> {
    try {
      await this.#node.start();
      this.#channel.post({ type: 'started' });
    } catch (error) {
      this.#fatal(error);
    }
  }

  /** The descriptor and what main says about it come different ways: whichever is first waits for the other. */
  #adopt(adoption: Adoption): void {
    const { number, relayed } = adoption;
    const socket = this.#sockets.get(number);
    if (relayed) {
      this.#take(adoption, this.#relay.add(number));
      return;
    }
    if (socket === undefined) return void this.#adoptions.set(number, adoption);
    this.#sockets.delete(number);
    this.#take(adoption, socket);
  }

  #received(number: number, socket: Socket): void {
    const adoption = this.#adoptions.get(number);
    if (adoption === undefined) {
      // Whoever closes before it was adopted is noticed when it is.
      socket.on('error', () => {});
      return void this.#sockets.set(number, socket);
    }
    this.#adoptions.delete(number);
    this.#take(adoption, socket);
  }

  #take({ sender, leftover }: Adoption, stream: Readable): void {
    this.#node.adopt(stream, sender, Buffer.from(leftover));
  }

  async #stop(): Promise<void> {
    this.#descriptors.close();
    for (const socket of this.#sockets.values()) socket.destroy();
    try {
      await this.#node.stop();
    } catch (error) {
      return this.#fatal(error);
    }
    this.#channel.post({ type: 'stopped' });
    this.#channel.flush();
    this.#port.close();
    this.#parent.close();
  }

  #fatal(error: unknown): void {
    this.#channel.post({ type: 'fatal', error: packError(error) });
    this.#channel.flush();
  }
}

assert(parentPort !== null, 'this file is the entry of a thread');
new RaftWorker(parentPort, workerData as RaftThreadData);
