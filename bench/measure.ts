import { setTimeout as pause } from 'node:timers/promises';
import type { Cell } from './cells.ts';
import type { Kind } from './kinds.ts';
import { type LoadReport, prepareTables, runLoad } from './load.ts';
import { processorUs, watchMemory } from './processes.ts';
import type { Surroundings } from './surroundings.ts';
import { ThreeServers } from './three-servers.ts';

/** What one server did during a cell. */
export interface ServerUse {
  readonly role: 'leader' | 'follower';
  readonly cpuUs: number;
  /** Resident memory before any load, and the most during this cell. */
  readonly idleBytes: number;
  readonly peakBytes: number;
}

/** One cell, measured once. */
export interface Sample extends Cell {
  /** Samples of one round belong together: they were taken one after the other. */
  readonly round: number;
  readonly kind: string;
  readonly load: LoadReport;
  readonly servers: readonly ServerUse[];
}

export interface Measuring {
  readonly cells: readonly Cell[];
  readonly rounds: number;
  readonly seconds: number;
  /** How long each workload runs before anything is measured. */
  readonly warmUpSeconds: number;
  readonly surroundings: Surroundings;
  readonly onSample: (sample: Sample) => void;
}

const IDLE_MS = 1000;

/**
 * Runs all cells on three servers of one kind, then on those of the next; every second round the other way round, so
 * that what drifts hits all alike.
 */
export async function measureAll(kinds: readonly Kind[], measuring: Measuring): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let round = 0; round < measuring.rounds; round++) {
    for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
      samples.push(...(await measureKind(kind, round, measuring)));
    }
  }
  return samples;
}

async function measureKind(kind: Kind, round: number, measuring: Measuring): Promise<Sample[]> {
  const cluster = await ThreeServers.start(kind, measuring.surroundings);
  const samples: Sample[] = [];
  try {
    await prepareTables(cluster.addresses);
    await pause(IDLE_MS);
    const idle = cluster.servers.map((server) => server.residentBytes());
    await warmUp(cluster, measuring);
    for (const cell of measuring.cells) {
      const measured = await measureCell(cluster, cell, measuring.seconds * 1000, idle);
      const sample = { round, kind: kind.name, ...cell, ...measured };
      measuring.onSample(sample);
      samples.push(sample);
    }
    return samples;
  } finally {
    await cluster.stop();
  }
}

/** Of several connections, so that what runs seldom on one has run often enough to be compiled. */
const WARM_UP_CONNECTIONS = 16;

/** Servers run for months; those of a benchmark should not be measured in their first seconds. */
async function warmUp(cluster: ThreeServers, { cells, warmUpSeconds }: Measuring): Promise<void> {
  if (warmUpSeconds === 0) return;
  for (const workload of new Set(cells.map((cell) => cell.workload))) {
    const cell = { workload, connections: WARM_UP_CONNECTIONS };
    await runLoad(cluster.addresses, cell, warmUpSeconds * 1000);
  }
}

/** A fifth of the time goes to a run that is not counted: code is compiled, caches fill. */
async function measureCell(
  cluster: ThreeServers,
  cell: Cell,
  durationMs: number,
  idle: readonly number[],
): Promise<Pick<Sample, 'load' | 'servers'>> {
  const { addresses, servers } = cluster;
  await runLoad(addresses, cell, Math.round(durationMs / 5));
  const used = (): number[] => servers.map(({ processId }) => processorUs(processId));
  let before: readonly number[] = [];
  const peaksOf = watchMemory(servers.map((server) => () => server.residentBytes()));
  const load = await runLoad(addresses, cell, durationMs, () => {
    before = used();
  });
  const after = used();
  const peaks = peaksOf();
  const leader = await cluster.leader();
  return {
    load,
    servers: addresses.map((address, i) => ({
      role: address === leader ? 'leader' : 'follower',
      cpuUs: (after[i] ?? 0) - (before[i] ?? 0),
      idleBytes: idle[i] ?? 0,
      peakBytes: peaks[i] ?? 0,
    })),
  };
}
