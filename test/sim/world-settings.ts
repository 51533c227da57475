import type { Random } from '../../src/base/random.ts';
import { type RaftOptions, raftOptions } from '../../src/raft/options.ts';
import type { Configuration, Role, ServerId } from '../../src/raft/types.ts';
import type { NetworkOptions } from './network.ts';
import type { ClientOptions } from './register-clients.ts';
import type { PortOptions } from './simulated-port.ts';

/** T in simulated milliseconds. Everything else is measured by it. */
export const electionTimeoutMs = 100;

/** What one host of a world is like. */
export interface HostSettings {
  readonly id: ServerId;
  readonly address: string;
  /** Whom it is bootstrapped with; undefined: it waits to be added. */
  readonly members: Configuration | undefined;
  /** How fast its clock goes, and what it shows at the beginning. */
  readonly rate: number;
  readonly zeroMs: number;
  readonly maxDiskLatencyMs: number;
  readonly maxRestoreMs: number;
  readonly raft: RaftOptions;
  /** Raft runs on a thread of its own, and this is how the threads hear of each other. */
  readonly port: PortOptions | undefined;
}

/** A source that draws only a few different numbers: servers then draw the same timeout, and stand against each other. */
export function coarse(random: Random): Random {
  const steps = 3;
  return { int: (min, max) => min + Math.round(((max - min) * random.int(0, steps)) / steps) };
}

/** Everything about a world that its seed decides before it begins. */
export interface WorldSettings {
  /** `registers`: the cheap machine; `sql`: the gateway over a real SQL engine. */
  readonly kind: 'registers' | 'sql';
  /** How long things go wrong. */
  readonly faultyMs: number;
  readonly hosts: readonly HostSettings[];
  readonly segmentBytes: number;
  /** Election timeouts are often equal. */
  readonly ties: boolean;
  readonly network: NetworkOptions;
  readonly clients: ClientOptions;
}

/** How far a clock is off at most: two servers may then be as far apart as the margin of the lease allows, not more. */
const maxDriftThousandths = 50;

/** Longest command: mostly small; or such that a few, or one, fill a segment of the log. */
const sizesWords = [3, 3, 120, 500];

/** How long things go wrong. */
const lengthsMs = [1000, 2000, 2000, 4000];

/** How many servers a cluster has, the usual numbers more often. */
const sizes = [1, 2, 3, 3, 3, 4, 5, 5, 5];

/** Draws a world; most are small, and each goes to an extreme of its own somewhere. */
export function drawSettings(random: Random, kind: WorldSettings['kind']): WorldSettings {
  const sql = kind === 'sql';
  return {
    kind,
    faultyMs: sql ? 1600 : (lengthsMs[random.int(0, lengthsMs.length - 1)] ?? 2000),
    hosts: drawHosts(random, sql ? 3 : (sizes[random.int(0, sizes.length - 1)] ?? 3), sql),
    segmentBytes: 4096 * (sql ? random.int(4, 16) : random.int(1, 4)),
    ties: happens(random, 30),
    network: drawNetwork(random),
    clients: {
      clients: random.int(sql ? 3 : 1, 6),
      loyalPercent: random.int(20, 100),
      registers: random.int(1, 4),
      maxThinkMs: random.int(5, sql ? 20 : 40),
      timeoutMs: 3 * electionTimeoutMs,
      readPercent: random.int(20, 70),
      maxWords: sizesWords[random.int(0, sizesWords.length - 1)] ?? 3,
      lossPercent: random.int(0, 4),
    },
  };
}

function drawHosts(random: Random, count: number, sql: boolean): HostSettings[] {
  const founders = happens(random, 10) ? 1 : count;
  const members: Configuration = {
    servers: Array.from({ length: founders }, (_, at) => ({
      id: idOf(at + 1),
      address: addressOf(at + 1),
      role: at < 3 || happens(random, 60) ? ('voter' as Role) : ('standby' as Role),
    })),
  };
  const spares = happens(random, 50) ? 1 : 0;
  const port = happens(random, 50) ? drawPort(random) : undefined;
  return Array.from({ length: count + spares }, (_, at) => ({
    id: idOf(at + 1),
    address: addressOf(at + 1),
    members: at < founders ? members : undefined,
    rate: 1 + random.int(-maxDriftThousandths, maxDriftThousandths) / 1000,
    zeroMs: random.int(0, 1000),
    maxDiskLatencyMs: happens(random, 15) ? 10 : 2,
    maxRestoreMs: happens(random, sql ? 60 : 30) ? random.int(1, 8 * electionTimeoutMs) : 0,
    raft: drawRaftOptions(random, idOf(at + 1), sql ? 6 : happens(random, 50) ? 12 : 60),
    port,
  }));
}

/** @param maxEntries between two snapshots; at most a third of that is kept of the log behind one */
function drawRaftOptions(random: Random, id: ServerId, maxEntries: number): RaftOptions {
  return raftOptions({
    id,
    electionTimeoutMs,
    heartbeatMs: random.int(10, 45),
    leaseMarginMs: 10,
    snapshotThreshold: random.int(3, maxEntries),
    snapshotTrailing: happens(random, 20) ? 0 : random.int(0, maxEntries / 3),
    snapshotTimeoutMs: 200,
    maxMessageBytes: random.int(8, 200),
    maxMessageEntries: random.int(1, 10),
    maxInflightMessages: random.int(1, 8),
    maxCatchUpRoundMs: 500,
  });
}

function drawPort(random: Random): PortOptions {
  return {
    maxDelayMs: random.int(1, 20) / 10,
    busyPercent: happens(random, 60) ? 0 : random.int(1, 3),
    maxBusyMs: random.int(1, 4 * electionTimeoutMs),
  };
}

const kinds = ['sockets', 'links', 'datagrams'] as const;

function drawNetwork(random: Random): NetworkOptions {
  return {
    kind: kinds[random.int(0, kinds.length - 1)] ?? 'links',
    lossPercent: random.int(0, 2) === 0 ? 0 : random.int(1, 10),
    duplicatePercent: random.int(0, 5),
    slowPercent: random.int(0, 5),
    slowMs: 3 * electionTimeoutMs,
    maxDelayMs: happens(random, 15) ? 30 : random.int(1, 8),
  };
}

function happens(random: Random, percent: number): boolean {
  return random.int(0, 99) < percent;
}

function idOf(number: number): ServerId {
  return BigInt(number) as ServerId;
}

function addressOf(number: number): string {
  return `host${number}:9001`;
}
