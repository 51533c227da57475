import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  freePort,
  type ServerCommand,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts';

const source = join(import.meta.dirname, 'c-node/node.c');
const binary = join(import.meta.dirname, 'bin/c-node');

export interface CNodeOptions {
  readonly directory: string;
  readonly id?: number;
  readonly port?: number;
  /** Default: 127.0.0.1 */
  readonly host?: string;
  /** threshold=N, trailing=N, latency=MS, domain=N */
  readonly options?: readonly string[];
}

/** Why there is no C node here, as a command that a reader can run; undefined when there is one. */
export function cNodeMissing(): string | undefined {
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return undefined;
  mkdirSync(join(binary, '..'), { recursive: true });
  // Test files run side by side: none may find half of it.
  const fresh = `${binary}.${process.pid}`;
  const args = ['-O1', '-Wall', '-Wextra', '-o', fresh, source, '-ldqlite', '-lpthread'];
  try {
    execFileSync('cc', args, { stdio: 'pipe' });
    renameSync(fresh, binary);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n').slice(0, 2).join(' ') : '';
    return `no C compiler or no libdqlite-dev (cc ${args.join(' ')}): ${reason}`;
  }
}

/**
 * The version of the C library, `1.18.6`: the shared library in `folder` says it itself. For that of the system
 * pkg-config is asked, since the 1.11.1 of Debian says that it is 1.10.0.
 */
export function cLibraryVersion(folder?: string): string {
  const [command, args, env] =
    folder === undefined
      ? (['pkg-config', ['--modversion', 'dqlite'], undefined] as const)
      : ([binary, ['--version'], { LD_LIBRARY_PATH: folder }] as const);
  return execFileSync(command, args, { env, encoding: 'utf8' }).trim();
}

/** How the C node is run. */
export function cNodeCommand(options: CNodeOptions & { readonly port: number }): ServerCommand {
  const { id, port, directory, host = '127.0.0.1' } = options;
  const args = [String(id ?? 1), `${host}:${port}`, directory, ...(options.options ?? [])];
  return { command: binary, args, port, ready: 'ready' };
}

/** Starts the C node; it is a one-node cluster when the directory is empty. */
export async function startCNode(options: CNodeOptions): Promise<ServerProcess> {
  return startServer(cNodeCommand({ ...options, port: options.port ?? (await freePort()) }));
}
