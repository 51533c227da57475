import type { Disk } from './disk.ts';
import { loadNativeAddon } from './native-addon.ts';
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
  const obstacle = addon.ioUringObstacle();
  if (wanted === 'io_uring' || (wanted === 'auto' && obstacle === null)) {
    return { disk: new NativeDisk(addon, true), backend: 'io_uring', reason: '' };
  }
  const why = wanted === 'thread' ? 'asked for' : `io_uring is not available: ${obstacle}`;
  return { disk: new NativeDisk(addon, false), backend: 'thread', reason: why };
}
