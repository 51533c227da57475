import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { Consensus } from '../gateway/consensus.ts';
import type { Sender } from '../raft/events.ts';
import type { RaftStore, StateMachine } from '../raft/ports.ts';
import { nodeClock } from './node-clock.ts';
import type { Dial } from './peer-dial.ts';
import { RaftConsensus, type RaftRequest } from './raft-consensus.ts';
import { RaftNode, type RaftNodeOptions, type RaftNodeStatus } from './raft-node.ts';
import { randomFromSystem } from './raft-random.ts';
import { openRaftStore, type RaftStorageOptions } from './raft-storage.ts';
import { RaftThread } from './raft-thread.ts';

/** How Raft is run. */
export interface RaftHostOptions {
  /** `thread`: in one of its own, as the daemon does; `inline`: on the thread that calls. */
  readonly form: 'thread' | 'inline';
  readonly node: RaftNodeOptions;
  readonly storage: RaftStorageOptions;
  /** Lines of the Raft thread below this level are not logged. */
  readonly logLevel: string;
}

/** Whom Raft works for. */
export interface RaftHostParts {
  readonly machine: StateMachine;
  readonly logger: Logger;
  /** The disk, the machine or the thread failed: the process must stop. Called at most once. */
  readonly fatal: (error: Error) => void;
  /** For tests of the inline form; the thread makes its own. */
  readonly inline?: {
    readonly clock?: Clock;
    readonly random?: Random;
    readonly store?: RaftStore;
    readonly dial?: Dial;
  };
}

/** A running Raft. */
export interface RaftHost {
  readonly consensus: Consensus;
  /**
   * Takes over a connection whose other end sent CONNECT. The caller has taken its listeners for data off it.
   * @param leftover what was read from it beyond CONNECT
   */
  adoptPeer(socket: Socket, sender: Sender, leftover: Buffer): void;
  /** What this server knows of itself and of the others. Rejects when Raft has stopped. */
  status(): Promise<RaftNodeStatus>;
  /**
   * Takes no more part: links close, the writes under way are carried out, requests that wait fail. Hand leadership
   * over first (`consensus.transfer`).
   */
  stop(): Promise<void>;
}

/**
 * Starts Raft on a data directory: resolves when the log is loaded and the newest snapshot restored into the
 * machine. Rejects when the directory is damaged (a StorageError by `name` and `code`).
 */
export async function startRaft(options: RaftHostOptions, parts: RaftHostParts): Promise<RaftHost> {
  return options.form === 'thread' ? startThread(options, parts) : startInline(options, parts);
}

async function startThread(options: RaftHostOptions, parts: RaftHostParts): Promise<RaftHost> {
  const { node, storage, logLevel } = options;
  const { machine, logger, fatal } = parts;
  const thread = new RaftThread(
    { options: node, storage, logLevel },
    { clock: nodeClock, logger, fatal },
  );
  const consensus = new RaftConsensus(node.self.id, machine, thread);
  try {
    await thread.start(consensus.machine, (settlement) => consensus.settle(settlement));
  } catch (error) {
    await thread.stop();
    throw error;
  }
  return {
    consensus,
    adoptPeer: (socket, sender, leftover) => thread.adopt(socket, sender, leftover),
    status: () => thread.status(),
    stop: async () => {
      await thread.stop();
      consensus.stop();
    },
  };
}

async function startInline(options: RaftHostOptions, parts: RaftHostParts): Promise<RaftHost> {
  const { machine, logger, fatal, inline = {} } = parts;
  const clock = inline.clock ?? nodeClock;
  let failed = false;
  const consensus: RaftConsensus = new RaftConsensus(options.node.self.id, machine, {
    // Not at once: what becomes of a proposal must not be told before its ticket is known.
    request: (request: RaftRequest) => queueMicrotask(() => node.request(request)),
    leaseHeld: () => clock.now() < node.leaseUntil,
  });
  const node = new RaftNode(options.node, {
    store: inline.store ?? openRaftStore(options.storage, clock, logger),
    machine: consensus.machine,
    clock,
    random: inline.random ?? randomFromSystem(),
    logger,
    onSettle: (settlement) => consensus.settle(settlement),
    onLease: () => {},
    fatal: (error) => {
      if (!failed) fatal(error instanceof Error ? error : new Error(String(error)));
      failed = true;
    },
    ...(inline.dial === undefined ? {} : { dial: inline.dial }),
  });
  await node.start();
  return {
    consensus,
    adoptPeer: (socket, sender, leftover) => node.adopt(socket, sender, leftover),
    status: async () => node.status(),
    stop: async () => {
      await node.stop();
      consensus.stop();
    },
  };
}
