import { constants } from 'node:fs';
import { join } from 'node:path';
import { needsFlush } from './device-cache.ts';
import { blockBytes, type Disk } from './disk.ts';
import { closeDescriptor, NodeDisk, openDescriptor } from './node-disk.ts';
import { type DiskBackend, diskBackends, openDisk } from './open-disk.ts';

/** One page of a database and a group of them. */
const appendSizes = [4096, 65_536] as const;
const fileBytes = 8 * 1024 * 1024;
/** Enough for a p99 to mean something. */
const fewestAppends = 100;
/** The back ends take turns, so that a busy moment is not one back end's. */
const rounds = 8;

/** How long durable appends of one size took, one after the other. */
export interface AppendTimes {
  readonly sizeBytes: number;
  readonly count: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  readonly perSecond: number;
  /** How many took longer than the bound before and no longer than `upToUs`, which doubles. */
  readonly histogram: readonly { readonly upToUs: number; readonly count: number }[];
}

/** One way to write the log. */
export interface BackendReport {
  readonly backend: DiskBackend;
  /** Why it does not work here; undefined when it does. */
  readonly obstacle: string | undefined;
  readonly appends: readonly AppendTimes[];
}

/** What a directory offers to the log. */
export interface DiskReport {
  readonly directory: string;
  readonly directIo: boolean;
  /** Whether the device has a volatile cache and cannot write past it; true when it does not say. */
  readonly needsFlush: boolean;
  /** In the order of preference: a daemon takes the first without an obstacle. */
  readonly backends: readonly BackendReport[];
}

/**
 * Measures durable appends in `directory` on each back end for about `seconds` in all. Leaves nothing behind; a file
 * that a kill leaves is removed by the next start of a daemon there.
 */
export async function checkDisk(directory: string, seconds: number): Promise<DiskReport> {
  const path = join(directory, `tmp-check-disk-${process.pid}`);
  const node = new NodeDisk();
  await writeZeros(node, path);
  try {
    const { directIo, flushes } = await describe(path);
    const opened = diskBackends.map(open);
    const budgetMs = (seconds * 1000) / (opened.length * appendSizes.length * rounds);
    for (let round = 0; round < rounds; round++) {
      for (const sizeBytes of appendSizes) {
        for (const { disk, latencies } of opened) {
          if (disk === undefined) continue;
          const all = latencies.get(sizeBytes) ?? [];
          await append(disk, path, sizeBytes, budgetMs, all);
          latencies.set(sizeBytes, all);
        }
      }
    }
    for (const { disk } of opened) disk?.close?.();
    const backends = opened.map(({ backend, obstacle, latencies }) => ({
      backend,
      obstacle,
      appends: [...latencies].map(([sizeBytes, all]) => timesOf(sizeBytes, all)),
    }));
    return { directory, directIo, needsFlush: flushes, backends };
  } finally {
    await node.remove(path);
  }
}

/** A back end while it is measured: one of `disk` and `obstacle`. */
interface Opened {
  readonly backend: DiskBackend;
  readonly disk: (Disk & { close?(): void }) | undefined;
  readonly obstacle: string | undefined;
  /** In microseconds, by size. */
  readonly latencies: Map<number, number[]>;
}

function open(backend: DiskBackend): Opened {
  const latencies = new Map<number, number[]>();
  try {
    return { backend, disk: openDisk(backend).disk, obstacle: undefined, latencies };
  } catch (error) {
    return { backend, disk: undefined, obstacle: (error as Error).message, latencies };
  }
}

async function writeZeros(disk: Disk, path: string): Promise<void> {
  const file = await disk.create(path);
  try {
    await file.write(Buffer.alloc(fileBytes), 0);
    await file.sync();
  } catch (error) {
    await disk.remove(path).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}

/** What the file system and its device offer. */
async function describe(path: string): Promise<{ directIo: boolean; flushes: boolean }> {
  const { O_DIRECT, O_WRONLY } = constants;
  const direct = await openDescriptor(path, O_WRONLY | O_DIRECT).catch(() => undefined);
  const descriptor = direct ?? (await openDescriptor(path, O_WRONLY));
  const flushes = await needsFlush(descriptor);
  await closeDescriptor(path, descriptor);
  return { directIo: direct !== undefined, flushes };
}

/** Appends for about `budgetMs`; adds the latencies, in microseconds. */
async function append(
  disk: Disk,
  path: string,
  sizeBytes: number,
  budgetMs: number,
  latencies: number[],
): Promise<void> {
  const memory = disk.allocate(Math.max(sizeBytes, blockBytes)).fill(0x5a);
  const file = await disk.openLog(path);
  const enough = latencies.length + Math.ceil(fewestAppends / rounds);
  try {
    const until = performance.now() + budgetMs;
    for (let offset = 0; performance.now() < until || latencies.length < enough; ) {
      const startedAt = performance.now();
      await file.writeDurably(memory, offset);
      latencies.push((performance.now() - startedAt) * 1000);
      offset = (offset + sizeBytes) % fileBytes;
    }
  } finally {
    await file.close();
  }
}

function timesOf(sizeBytes: number, latencies: readonly number[]): AppendTimes {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  const sumUs = sorted.reduce((sum, one) => sum + one, 0);
  return {
    sizeBytes,
    count: sorted.length,
    p50Us: at(0.5),
    p99Us: at(0.99),
    maxUs: at(1),
    perSecond: Math.round((sorted.length * 1e6) / sumUs),
    histogram: histogramOf(sorted),
  };
}

/** From the first bucket that holds any to the last. */
function histogramOf(sorted: readonly number[]): AppendTimes['histogram'] {
  const powerOf = (latency: number): number => Math.max(0, Math.ceil(Math.log2(latency)));
  const [first, last] = [powerOf(sorted[0] ?? 1), powerOf(sorted.at(-1) ?? 1)];
  const counts = new Array<number>(last - first + 1).fill(0);
  for (const latency of sorted) {
    const at = powerOf(latency) - first;
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return counts.map((count, at) => ({ upToUs: 2 ** (first + at), count }));
}
