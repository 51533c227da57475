import { constants } from 'node:fs';
import { join } from 'node:path';
import { blockBytes, type Disk } from './disk.ts';
import { closeDescriptor, NodeDisk, openDescriptor } from './node-disk.ts';
import { type DiskBackend, diskBackends, openDisk } from './open-disk.ts';

/** One page of a database and a group of them. */
const appendSizes = [4096, 65_536] as const;
const fileBytes = 8 * 1024 * 1024;
/** Enough for a p99 to mean something. */
const fewestAppends = 100;

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
    const directIo = await isDirect(path);
    const budgetMs = (seconds * 1000) / (diskBackends.length * appendSizes.length);
    const backends: BackendReport[] = [];
    for (const backend of diskBackends) backends.push(await measured(backend, path, budgetMs));
    return { directory, directIo, backends };
  } finally {
    await node.remove(path);
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

async function isDirect(path: string): Promise<boolean> {
  try {
    const descriptor = await openDescriptor(path, constants.O_WRONLY | constants.O_DIRECT);
    await closeDescriptor(path, descriptor);
    return true;
  } catch {
    return false;
  }
}

async function measured(
  backend: DiskBackend,
  path: string,
  budgetMs: number,
): Promise<BackendReport> {
  let disk: Disk & { close?(): void };
  try {
    ({ disk } = openDisk(backend));
  } catch (error) {
    return { backend, obstacle: (error as Error).message, appends: [] };
  }
  try {
    const appends: AppendTimes[] = [];
    for (const sizeBytes of appendSizes) {
      appends.push(timesOf(sizeBytes, await append(disk, path, sizeBytes, budgetMs)));
    }
    return { backend, obstacle: undefined, appends };
  } finally {
    disk.close?.();
  }
}

/** Latencies in microseconds. */
async function append(
  disk: Disk,
  path: string,
  sizeBytes: number,
  budgetMs: number,
): Promise<number[]> {
  const memory = disk.allocate(Math.max(sizeBytes, blockBytes)).fill(0x5a);
  const file = await disk.openLog(path);
  const latencies: number[] = [];
  try {
    const until = performance.now() + budgetMs;
    for (let offset = 0; performance.now() < until || latencies.length < fewestAppends; ) {
      const startedAt = performance.now();
      await file.writeDurably(memory, offset);
      latencies.push((performance.now() - startedAt) * 1000);
      offset = (offset + sizeBytes) % fileBytes;
    }
  } finally {
    await file.close();
  }
  return latencies;
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

function histogramOf(sorted: readonly number[]): AppendTimes['histogram'] {
  const buckets = new Map<number, number>();
  for (const latency of sorted) {
    const upToUs = 2 ** Math.max(0, Math.ceil(Math.log2(latency)));
    buckets.set(upToUs, (buckets.get(upToUs) ?? 0) + 1);
  }
  return [...buckets].map(([upToUs, count]) => ({ upToUs, count }));
}
