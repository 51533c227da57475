import { type BigIntStats, fstat } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the kernel describes block devices, by number. */
const devicesDirectory = '/sys/dev/block';

/** Of the devices met so far, by number. */
const known = new Map<bigint, Promise<boolean>>();

/**
 * Whether a durable write to this open file ends with a flush of the device: it has a cache that a power cut
 * empties, and cannot write past it (FUA). True when nothing is known of the device, as behind btrfs and overlays.
 */
export async function needsFlush(descriptor: number): Promise<boolean> {
  const { dev } = await new Promise<BigIntStats>((resolve, reject) => {
    fstat(descriptor, { bigint: true }, (error, stats) => (error ? reject(error) : resolve(stats)));
  });
  const answer = known.get(dev) ?? deviceNeedsFlush(dev);
  known.set(dev, answer);
  return answer;
}

/** The same of a device by its number; `directory` is /sys/dev/block. */
export async function deviceNeedsFlush(
  device: bigint,
  directory = devicesDirectory,
): Promise<boolean> {
  // A partition has no queue of its own: its device is the directory above it.
  for (const queue of ['queue', '../queue']) {
    const path = join(directory, `${majorOf(device)}:${minorOf(device)}`);
    const [cache, fua] = await Promise.all(
      ['write_cache', 'fua'].map((name) =>
        // Not joined: the path leads through a symbolic link.
        readFile(`${path}/${queue}/${name}`, 'latin1').catch(() => undefined),
      ),
    );
    if (cache !== undefined) return cache.trim() !== 'write through' && fua?.trim() !== '1';
  }
  return true;
}

/** As in gnu_dev_major(3). */
function majorOf(device: bigint): bigint {
  return ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
}

function minorOf(device: bigint): bigint {
  return (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
}
