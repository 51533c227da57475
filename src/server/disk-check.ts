import { resolve } from 'node:path';
import { UsageError } from '../base/errors.ts';
import { checkDisk, type DiskReport } from '../storage/disk-check.ts';
import { StartFailure } from './start-failure.ts';

export type { AppendTimes, DiskReport } from '../storage/disk-check.ts';

/**
 * Measures what the log can expect of a directory.
 * @throws UsageError when there is no such directory, StartFailure when nothing can be written to it
 */
export async function checkDirectory(directory: string, seconds: number): Promise<DiskReport> {
  try {
    return await checkDisk(resolve(directory), seconds);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new UsageError(`there is no directory ${directory}: name an existing one`);
    }
    throw new StartFailure(message, { cause: error });
  }
}
