import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Cell } from './cells.ts';

/** What the load program says of one cell (bench/load/measure.go). Times are of successful operations. */
export interface LoadReport {
  readonly seconds: number;
  readonly operations: number;
  /** Those of them that changed something. */
  readonly writes: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** From one success of a connection to its next, attempts that failed in between included: p99 and longest. */
  readonly p99WaitUs: number;
  readonly longestWaitUs: number;
  /** Operations of the connection that did the fewest, and the most. */
  readonly fewest: number;
  readonly most: number;
  /** How often each error was answered, by its text. */
  readonly errors: Readonly<Record<string, number>>;
  /** Processor time of the load program itself. */
  readonly clientCpuUs: number;
}

const program = join(import.meta.dirname, 'bin/load');

/** Builds the load program; fails with a sentence when Go or its modules cannot be had. */
export function buildLoad(): void {
  mkdirSync(join(program, '..'), { recursive: true });
  const args = ['build', '-tags', 'nosqlite3', '-o', program, '.'];
  try {
    execFileSync('go', args, {
      cwd: join(import.meta.dirname, 'load'),
      // biome-ignore lint/style/noProcessEnv: build tools need the environment of the caller
      env: { ...process.env, CGO_ENABLED: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    throw new Error(`the load program needs Go: go ${args.join(' ')}: ${(error as Error).message}`);
  }
}

/** Makes the tables. */
export async function prepareTables(addresses: readonly string[]): Promise<void> {
  await run(['prepare', addresses.join(',')], () => {});
}

/** Runs one cell; `onBegin` is called when all connections are open, just before the first operation. */
export async function runLoad(
  addresses: readonly string[],
  cell: Cell,
  durationMs: number,
  onBegin: () => void = () => {},
): Promise<LoadReport> {
  const { workload, connections } = cell;
  const args = ['run', addresses.join(','), workload, String(connections), String(durationMs)];
  const lines = await run(args, onBegin);
  return JSON.parse(lines.at(-1) ?? '') as LoadReport;
}

/** Returns the lines that the program printed; `onFirst` is called at the first one. */
async function run(args: readonly string[], onFirst: () => void): Promise<string[]> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('exit', resolve);
    child.once('error', reject);
  });
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (lines.push(line) === 1) onFirst();
  }
  const code = await exited;
  process.removeListener('exit', kill);
  if (code !== 0) throw new Error(`the load program ended with exit code ${code}`);
  return lines;
}
