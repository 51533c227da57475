import { unreachable } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { RaftStore } from '../raft/ports.ts';
import { type MessageTarget, RaftChannel } from './raft-channel.ts';
import type { SharedLease } from './raft-lease.ts';
import { type FromRaft, type ToNode, unbatchProposals } from './raft-messages.ts';
import type { RaftNode, RaftNodeParts } from './raft-node.ts';
import { RemoteMachine, RemoteSnapshot } from './raft-remote-machine.ts';
import { SnapshotBorrower, SnapshotLender } from './raft-snapshot-stream.ts';

/** The part of a node that the other thread talks with. */
export type RemoteNode = Pick<RaftNode, 'propose' | 'request' | 'handedOut' | 'applied'>;

/** What of a node has its other end on the main thread. */
export type RemoteNodeParts = Pick<RaftNodeParts, 'machine' | 'onSettle' | 'onLease'>;

/** Raft's end of the talk with a machine on another thread. */
export class NodeEnd<Node extends RemoteNode = RaftNode> {
  readonly channel: RaftChannel<FromRaft>;
  readonly node: Node;
  readonly #machine: RemoteMachine;
  readonly #lender: SnapshotLender;
  readonly #borrower: SnapshotBorrower;

  /** @param createNode makes the node whose machine is on the other thread; its store awaits snapshots */
  constructor(
    port: MessageTarget,
    clock: Clock,
    lease: SharedLease,
    createNode: (parts: RemoteNodeParts, channel: RaftChannel<FromRaft>) => Node,
  ) {
    const channel = new RaftChannel<FromRaft>(port, clock);
    this.channel = channel;
    this.#lender = new SnapshotLender((message, transfer) =>
      channel.post({ type: 'raftSnapshot', message }, transfer),
    );
    this.#borrower = new SnapshotBorrower((message) =>
      channel.post({ type: 'mainSnapshot', message }),
    );
    this.#machine = new RemoteMachine(channel, this.#lender, this.#borrower, (bytes) =>
      this.node.handedOut(bytes),
    );
    const parts: RemoteNodeParts = {
      machine: this.#machine,
      onSettle: (settlement) => channel.post({ type: 'settle', settlement }),
      onLease: (until, term) => lease.set(until, term),
    };
    this.node = createNode(parts, channel);
  }

  receive(message: ToNode): void {
    switch (message.type) {
      case 'propose':
        this.node.propose(message.term, unbatchProposals(message));
        return;
      case 'read':
      case 'change':
      case 'transfer':
        this.node.request(message);
        return;
      case 'mainSnapshot':
        this.#borrower.receive(message.message);
        return;
      case 'raftSnapshot':
        this.#lender.receive(message.message);
        return;
      case 'snapshotReady':
        this.#machine.snapshotReady(message);
        return;
      case 'restored':
        this.#machine.restored(message);
        return;
      case 'applied':
        this.node.applied(message.bytes);
        return;
      default:
        unreachable(message);
        return;
    }
  }
}

/** A snapshot that the other thread takes is written when it is there. */
export function awaitingSnapshots(store: RaftStore): RaftStore {
  return {
    ...(store.space === undefined ? {} : { space: store.space }),
    load: () => store.load(),
    persist: (write) => store.persist(write),
    writeSnapshot: async (snapshot) => {
      if (snapshot.data instanceof RemoteSnapshot) await snapshot.data.ready;
      await store.writeSnapshot(snapshot);
    },
    openSnapshot: (meta) => store.openSnapshot(meta),
    receiveSnapshot: (meta, chunks) => store.receiveSnapshot(meta, chunks),
    close: () => store.close(),
  };
}
