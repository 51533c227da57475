import { createHash } from 'node:crypto';
import { dumpFiles } from '../../src/client/dump.ts';

/** A hash over the bytes of a database as the server at `address` has it. */
export async function dumpHash(address: string, database = 'app'): Promise<string> {
  const hash = createHash('sha256');
  for await (const { chunks } of dumpFiles(address, database)) {
    for await (const bytes of chunks) hash.update(bytes);
  }
  return hash.digest('hex');
}
