import { basename, join } from 'node:path';
import type { Index } from '../base/ids.ts';
import type { Disk } from './disk.ts';
import { closedSegmentName } from './file-names.ts';
import type { Repair } from './findings.ts';
import { closeSegmentFile, copySegmentUpTo } from './segments.ts';

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
    case 'salvage': {
      const { first, last } = repair.segment;
      const name = closedSegmentName(first, last);
      const temporary = join(directory, `tmp-${name}`);
      await copySegmentUpTo(disk, repair.path, temporary, first, (last + 1) as Index);
      await disk.rename(temporary, join(directory, name));
      await disk.syncDirectory(directory);
      return moveAside(disk, directory, repair.path, nanoseconds);
    }
  }
}

async function moveAside(
  disk: Disk,
  directory: string,
  path: string,
  nanoseconds: bigint,
): Promise<void> {
  const names = await disk.list(directory);
  let at = nanoseconds;
  while (names.includes(`corrupt-${at}-${basename(path)}`)) at += 1n;
  await disk.rename(path, join(directory, `corrupt-${at}-${basename(path)}`));
  await disk.syncDirectory(directory);
}
