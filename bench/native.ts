import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Compiles `bench/native/NAME.c`; returns the program. */
export function compile(name: string): string {
  const output = join(import.meta.dirname, 'bin', name);
  mkdirSync(join(output, '..'), { recursive: true });
  const source = join(import.meta.dirname, 'native', `${name}.c`);
  run('cc', '-O2', '-Wall', '-Wextra', '-o', output, source);
  return output;
}

/** Runs a command; fails with its first words. */
export function run(command: string, ...args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer };
    const reason = stderr?.toString().trim() || message;
    throw new Error(`${command} ${args.join(' ')}: ${reason} (delays need root on Linux)`);
  }
}

/** Starts a program that prints "ready"; resolves when it does. */
export async function startHelper(command: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== 'ready') throw new Error(`${command} did not start (delays need root)`);
  return child;
}

/** Calls `cleanUp` when this process ends, however it does, kill -9 aside; returns what forgets that. */
export function atExit(cleanUp: () => void): () => void {
  const onSignal = (): void => process.exit(1);
  process.once('exit', cleanUp);
  process.prependOnceListener('SIGINT', onSignal);
  process.prependOnceListener('SIGTERM', onSignal);
  return () => {
    process.removeListener('exit', cleanUp);
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onSignal);
  };
}
