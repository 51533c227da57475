import type { Random } from '../../src/base/random.ts';
import type { RaftStore } from '../../src/raft/ports.ts';
import { SharedLease } from '../../src/server/raft-lease.ts';
import { MainEnd } from '../../src/server/raft-main-end.ts';
import type { FromNode, ToNode } from '../../src/server/raft-messages.ts';
import {
  awaitingSnapshots,
  NodeEnd,
  type RemoteNodeParts,
} from '../../src/server/raft-node-end.ts';
import type { HostClock } from './host-clock.ts';
import type { RaftProcess } from './network.ts';
import { type PortOptions, SimulatedPort } from './simulated-port.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Raft on a thread of its own, and what the machine's thread has of it. */
export interface Threads {
  readonly main: MainEnd;
  readonly raft: RaftProcess;
  /** The machine's thread looks at nothing that Raft says for so long. */
  readonly holdUp: (byMs: number) => void;
  /** From now on no thread is busy for long. */
  readonly calm: () => void;
}

/** The daemon's two threads, without the threads: their ends, and messages in between that take time. */
export function connectThreads(
  clocks: { readonly world: VirtualClock; readonly main: HostClock; readonly raft: HostClock },
  random: Random,
  options: PortOptions,
  createRaft: (
    parts: RemoteNodeParts & { readonly awaiting: (store: RaftStore) => RaftStore },
  ) => RaftProcess,
): Threads {
  const lease = new SharedLease(clocks.main);
  const toRaft = new SimulatedPort<ToNode>(clocks.world, clocks.raft, random, options, (message) =>
    nodeEnd.receive(message),
  );
  const toMain = new SimulatedPort<FromNode>(
    clocks.world,
    clocks.main,
    random,
    options,
    (message) => main.receive(message),
  );
  const main = new MainEnd(toRaft, clocks.main, lease);
  const nodeEnd: NodeEnd<RaftProcess> = new NodeEnd(toMain, clocks.raft, lease, (parts) =>
    createRaft({ ...parts, awaiting: awaitingSnapshots }),
  );
  return {
    main,
    raft: nodeEnd.node,
    holdUp: (byMs) => toMain.holdUp(byMs),
    calm: () => {
      toMain.calm();
      toRaft.calm();
    },
  };
}
