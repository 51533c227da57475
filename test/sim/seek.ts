import { spawn } from 'node:child_process';
import { join } from 'node:path';

/** Where a planted bug was found. */
export interface Found {
  readonly seed: number;
  /** How many seeds were run until then. */
  readonly seeds: number;
  readonly error: string;
}

/** Looks for a bug in at most so many seeds, in a process of its own, where the bug is in the source. */
export function seek(name: string, seeds: number): Promise<Found | undefined> {
  const script = join(import.meta.dirname, 'planted-run.ts');
  const child = spawn(process.execPath, ['--import=tsx', script, name, '1', `${seeds}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {},
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output).found);
      else reject(new Error(`${name}: ${errors}`));
    });
  });
}

/** Looks for several, some of them at a time. */
export async function seekAll(
  names: readonly string[],
  seedsFor: (name: string) => number,
  told: (name: string, found: Found | undefined) => void,
  parallel = 2,
): Promise<void> {
  const left = [...names];
  const search = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      told(name, await seek(name, seedsFor(name)));
    }
  };
  await Promise.all(Array.from({ length: parallel }, search));
}
