import { basename, join } from 'node:path';
import type { Disk, ReadableFile, WritableFile } from './disk.ts';
import type { Repair } from './findings.ts';
import { closeSegmentFile } from './segments.ts';

/**
 * Carries out repairs in their order, each durable before the next. `nanoseconds` goes into the names of what is
 * moved aside. Interrupted, they are found again by the next survey.
 */
export async function carryOut(
  disk: Disk,
  directory: string,
  repairs: readonly Repair[],
  nanoseconds: bigint,
): Promise<void> {
  for (const repair of repairs) await carryOutOne(disk, directory, repair, nanoseconds);
  if (repairs.length > 0) await disk.syncDirectory(directory);
}

async function carryOutOne(
  disk: Disk,
  directory: string,
  repair: Repair,
  nanoseconds: bigint,
): Promise<void> {
  switch (repair.kind) {
    case 'remove':
      return disk.remove(repair.path);
    case 'moveAside':
      return moveAside(disk, directory, repair.path, nanoseconds);
    case 'close':
      return closeSegmentFile(disk, directory, repair.path, repair.usedBytes, repair.segment);
    case 'salvage':
      await copyAside(disk, directory, repair.path, nanoseconds);
      return closeSegmentFile(disk, directory, repair.path, repair.usedBytes, repair.segment);
  }
}

async function moveAside(
  disk: Disk,
  directory: string,
  path: string,
  nanoseconds: bigint,
): Promise<void> {
  await disk.rename(path, await asidePath(disk, directory, path, nanoseconds));
  await disk.syncDirectory(directory);
}

async function copyAside(
  disk: Disk,
  directory: string,
  path: string,
  nanoseconds: bigint,
): Promise<void> {
  const source = await disk.openForReading(path);
  try {
    const target = await disk.create(await asidePath(disk, directory, path, nanoseconds));
    try {
      await copyBytes(source, target);
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
  await disk.syncDirectory(directory);
}

async function copyBytes(source: ReadableFile, target: WritableFile): Promise<void> {
  const buffer = Buffer.alloc(copyStepBytes);
  for (let offset = 0; offset < source.sizeBytes; offset += copyStepBytes) {
    const count = await source.read(buffer, offset);
    await target.write(buffer.subarray(0, count), offset);
  }
}

const copyStepBytes = 1024 * 1024;

/** A name that is not taken. */
async function asidePath(
  disk: Disk,
  directory: string,
  path: string,
  nanoseconds: bigint,
): Promise<string> {
  const names = await disk.list(directory);
  let at = nanoseconds;
  while (names.includes(`corrupt-${at}-${basename(path)}`)) at += 1n;
  return join(directory, `corrupt-${at}-${basename(path)}`);
}
