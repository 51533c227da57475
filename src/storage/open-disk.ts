import type { Disk } from './disk.ts';
import { loadNativeAddon, type NativeAddon } from './native-addon.ts';
import { NativeDisk } from './native-disk.ts';
import { NodeDisk } from './node-disk.ts';

/** Ways to write the log, best first. */
export const diskBackends = ['io_uring', 'thread', 'node'] as const;
export type DiskBackend = (typeof diskBackends)[number];

/** A disk, how it writes the log, and why it is not a better way. */
export interface OpenedDisk {
  readonly disk: Disk;
  readonly backend: DiskBackend;
  /** Empty for the best back end; else what kept the better ones away. */
  readonly reason: string;
}

/**
 * The best back end that works on this host, for the thread that calls; or exactly `wanted`, which throws when it
 * does not work.
 */
export function openDisk(wanted: DiskBackend | 'auto' = 'auto'): OpenedDisk {
  if (wanted === 'node') return { disk: new NodeDisk(), backend: 'node', reason: 'asked for' };
  const { addon, reason } = loadNativeAddon();
  if (addon === undefined) {
    if (wanted !== 'auto') throw new Error(`no native back end: ${reason}`);
    return { disk: new NodeDisk(), backend: 'node', reason };
  }
  return wanted === 'auto' ? bestOf(addon) : exactly(addon, wanted);
}

function exactly(addon: NativeAddon, backend: 'io_uring' | 'thread'): OpenedDisk {
  return { disk: new NativeDisk(addon, backend === 'io_uring'), backend, reason: 'asked for' };
}

/** A host may know io_uring and still refuse a ring: memory limits count too. */
function bestOf(addon: NativeAddon): OpenedDisk {
  let obstacle = addon.ioUringObstacle();
  if (obstacle === null) {
    try {
      return { disk: new NativeDisk(addon, true), backend: 'io_uring', reason: '' };
    } catch (error) {
      obstacle = (error as Error).message;
    }
  }
  const reason = `io_uring is not available: ${obstacle}`;
  try {
    return { disk: new NativeDisk(addon, false), backend: 'thread', reason };
  } catch (error) {
    const both = `${reason}; nor is a writer thread: ${(error as Error).message}`;
    return { disk: new NodeDisk(), backend: 'node', reason: both };
  }
}
