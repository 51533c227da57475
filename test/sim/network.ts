import type { DriverParts } from '../../src/raft/driver.ts';
import type { Outbound } from '../../src/raft/events.ts';
import type { Instant, ServerId } from '../../src/raft/types.ts';
import type { RaftRequest } from '../../src/server/raft-consensus.ts';
import type { RaftNode } from '../../src/server/raft-node.ts';
import type { Host } from './host.ts';

/** Raft in one process, whatever carries its messages. */
export interface RaftProcess {
  start(): Promise<void>;
  request(request: RaftRequest): void;
  /** See RaftNode. */
  propose: RaftNode['propose'];
  readonly leaseUntil: Instant;
  /** See RaftNode. */
  handedOut(bytes: number): void;
  applied(bytes: number): void;
}

/** What Raft in one process is made of, but for its links. */
export interface RaftParts extends Omit<DriverParts, 'transport'> {
  /** A message is about to leave; not told of by sockets. */
  readonly sending: (outbound: Outbound) => void;
}

/** Everything between the hosts. Nothing is ever changed on the way; all else may happen to it until `calm`. */
export interface Network {
  /** Raft for a new process on this host, linked with the others. */
  createRaft(host: Host, parts: RaftParts): RaftProcess;
  /** The process is gone, and with it all its connections; a power cut leaves nobody to say so. */
  died(host: Host, how: 'power cut' | 'kill'): void;
  /** Nothing passes from one to the other until `heal`. */
  cut(from: ServerId, to: ServerId): void;
  /** Everything takes longer from one to the other until `heal`. */
  slow(from: ServerId, to: ServerId, byMs: number): void;
  heal(): void;
  /** Breaks a link: what was sent last is lost. */
  breakLink(from: ServerId, to: ServerId): void;
  /** From now on everything arrives soon. */
  calm(): void;
}

/** How a network treats what is sent. Shares are percentages, times milliseconds. */
export interface NetworkOptions {
  /**
   * `sockets`: the bytes of the daemon's own links. `links`: what one server sends to another arrives in order; links break, and then the newest part of what was
   * on its way is lost. `datagrams`: messages are lost, doubled and overtake each other one by one.
   */
  readonly kind: 'sockets' | 'links' | 'datagrams';
  readonly lossPercent: number;
  readonly duplicatePercent: number;
  readonly slowPercent: number;
  readonly slowMs: number;
  readonly maxDelayMs: number;
}
