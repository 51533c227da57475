import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A program that a test runs, or why it cannot be had here (with the command that was tried). */
export type Tool =
  | { readonly command: string; readonly args: readonly string[]; readonly missing?: undefined }
  | { readonly missing: string };

/** What is built on demand; git ignores it. */
const cache = join(import.meta.dirname, 'bin');

/** Builds `test/interop/go/NAME`, without cgo. Modules come through Go's module proxy. */
export function goProgram(name: 'v1' | 'v3'): Tool {
  const output = join(cache, `go-${name}`);
  const args = ['build', '-tags', 'nosqlite3', '-o', output, '.'];
  const failure = run('go', args, {
    cwd: join(import.meta.dirname, 'go', name),
    environment: { CGO_ENABLED: '0' },
  });
  return failure === undefined ? { command: output, args: [] } : { missing: failure };
}

/** `test/interop/python/workload.py` in an environment with the packages of its requirements.txt. */
export function pythonProgram(): Tool {
  const folder = join(import.meta.dirname, 'python');
  const environment = join(cache, 'python');
  const command = join(environment, 'bin/python');
  const requirements = join(folder, 'requirements.txt');
  const stamp = join(environment, 'installed.txt');
  const tool = { command, args: [join(folder, 'workload.py')] };
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return tool;
  const interpreter = pythonInterpreters().find(isNewEnough);
  if (interpreter === undefined) return { missing: 'no Python 3.13 or newer (python3 --version)' };
  const failure =
    run(interpreter, ['-m', 'venv', '--clear', environment]) ??
    run(command, ['-m', 'pip', 'install', '--quiet', '--requirement', requirements]);
  if (failure !== undefined) return { missing: failure };
  writeFileSync(stamp, wanted);
  return tool;
}

/** Debian's `dqlite` shell. */
export function shellProgram(): Tool {
  const failure = run('dqlite', ['--help']);
  return failure === undefined ? { command: 'dqlite', args: [] } : { missing: failure };
}

function pythonInterpreters(): string[] {
  const versions = join(homedir(), '.pyenv/versions');
  const installed = existsSync(versions) ? readdirSync(versions) : [];
  return [
    'python3',
    'python3.13',
    'python3.14',
    ...installed
      .filter((name) => /^3\.1[3-9]/.test(name))
      .map((name) => join(versions, name, 'bin/python')),
  ];
}

function isNewEnough(command: string): boolean {
  const check = 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 13))';
  return run(command, ['-c', check]) === undefined;
}

/** Undefined when the command succeeded, else the command and the head of what it said. */
function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; environment?: Record<string, string> } = {},
): string | undefined {
  try {
    execFileSync(command, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      // biome-ignore lint/style/noProcessEnv: build tools need the environment of the test
      env: { ...process.env, ...options.environment },
      stdio: 'pipe',
      timeout: 300_000,
    });
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n').slice(0, 3).join(' ') : '';
    return `${command} ${args.join(' ')}: ${reason}`;
  }
}
