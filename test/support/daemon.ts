import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { freePort, type ServerCommand, type ServerProcess, startServer } from './server-process.ts';

export interface DaemonOptions {
  /** Default: a free port. */
  readonly port?: number;
  /** Default: 127.0.0.1 */
  readonly host?: string;
  /** Default: 1. */
  readonly id?: number;
  readonly directory: string;
  /** More flags of `dqlited start`. */
  readonly flags?: readonly string[];
}

const root = join(import.meta.dirname, '../..');

/** How `dqlited start` is run from this checkout, as an operator does. */
export function daemonCommand(options: DaemonOptions & { readonly port: number }): ServerCommand {
  const { id, port, directory, flags, host = '127.0.0.1' } = options;
  const args = [
    ...['start', '--id', String(id ?? 1), '--address', `${host}:${port}`],
    ...['--data-dir', directory, ...(flags ?? [])],
  ];
  return { command: join(root, 'bin/dqlited'), args, port, ready: 'ready' };
}

/** Starts a daemon; resolves when it serves. */
export async function startDaemon(options: DaemonOptions): Promise<ServerProcess> {
  return startServer(daemonCommand({ ...options, port: options.port ?? (await freePort()) }));
}

/** A daemon on an empty directory for one test: stopped and removed when the test ends. */
export async function daemonFor(t: Test, flags: readonly string[] = []): Promise<ServerProcess> {
  const directory = await temporaryDirectory(t);
  const daemon = await startDaemon({ directory, flags });
  t.teardown(() => daemon.kill());
  return daemon;
}

/** An empty directory that goes when the test ends. */
export async function temporaryDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dqlited-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** The lines of a daemon's log at level error or above (pino: 50). */
export function errorLines(daemon: ServerProcess): string[] {
  return daemon
    .log()
    .split('\n')
    .filter((line) => {
      const level = /"level":(\d+|"\w+")/.exec(line)?.[1] ?? '0';
      return Number(level) >= 50 || /error|fatal/.test(level);
    });
}
