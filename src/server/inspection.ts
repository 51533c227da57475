import { resolve } from 'node:path';
import { UsageError } from '../base/errors.ts';
import { type DirectoryReport, inspectDirectory } from '../storage/inspect.ts';
import { NodeDisk } from '../storage/node-disk.ts';

export type { DirectoryReport } from '../storage/inspect.ts';

/**
 * Reads a data directory whole and says what is in it and what is wrong with it; changes nothing.
 * @throws UsageError when there is no such directory
 */
export async function inspectDataDirectory(directory: string): Promise<DirectoryReport> {
  try {
    return await inspectDirectory(new NodeDisk(), resolve(directory));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    throw new UsageError(`there is no directory ${directory}: name the --data-dir of a server`);
  }
}
