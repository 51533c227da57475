import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { outside } from './outside.ts';

/** A server running as a process of its own, on 127.0.0.1. */
export interface ServerProcess {
  readonly port: number;
  readonly address: string;
  readonly processId: number;
  readonly running: boolean;
  /** "running", or how it ended. */
  readonly ending: string;
  /** Everything it has written to stderr. */
  log(): string;
  /** Resident memory, from /proc. */
  residentBytes(): number;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code (null when it had to be killed after 20 s). */
  stop(): Promise<number | null>;
}

export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly port: number;
  /** How its stdout begins when it serves. */
  readonly ready: string;
  readonly environment?: Readonly<Record<string, string>>;
}

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const MAXIMUM_LOG_BYTES = 64 << 20;

/** Starts a server; resolves when it says that it serves, rejects with its stderr when it ends before. */
export async function startServer(description: ServerCommand): Promise<ServerProcess> {
  const child = spawn(...outside(description.command, description.args), {
    stdio: ['ignore', 'pipe', 'pipe'],
    // biome-ignore lint/style/noProcessEnv: the server inherits the environment of the test
    env: { ...process.env, ...description.environment },
  });
  const server = new Child(child, description.port);
  running.add(child);
  child.once('exit', () => running.delete(child));
  await server.untilReady(description.ready);
  return server;
}

/** Starts a server and kills it `afterMs` later, ready or not. */
export async function startAndKill(description: ServerCommand, afterMs: number): Promise<void> {
  const starting = startServer(description).catch(() => undefined);
  const child = [...running].at(-1);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child?.kill('SIGKILL');
  await starting;
}

/** A test that ends early, however it does, leaves no server behind. */
const running = new Set<ChildProcess>();
function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
process.once('exit', killAll);
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.once(signal, () => {
    killAll();
    process.kill(process.pid, signal);
  });
}

/** A port that stays its server's while that is down: nobody else asks for ports of this range. */
export async function lastingPort(): Promise<number> {
  for (let i = 0; i < LASTING_PORTS; i++) {
    const port = FIRST_LASTING_PORT + ((process.pid * 16 + lastingHandedOut++) % LASTING_PORTS);
    if ((await reserve(port)) && (await isFree(port))) return port;
  }
  throw new Error('no free port');
}

const FIRST_LASTING_PORT = 21_700;
const LASTING_PORTS = 200;
let lastingHandedOut = 0;

/** A port of 127.0.0.1 that nobody listens on, below the range that the kernel gives to clients. */
export async function freePort(): Promise<number> {
  for (let i = 0; i < FIRST_PORTS.length * PORTS_PER_RANGE; i++) {
    const at = (process.pid + handedOut++) % (FIRST_PORTS.length * PORTS_PER_RANGE);
    const first = FIRST_PORTS[Math.floor(at / PORTS_PER_RANGE)] ?? 0;
    const port = first + (at % PORTS_PER_RANGE);
    if ((await reserve(port)) && (await isFree(port))) return port;
  }
  throw new Error('no free port');
}

const FIRST_PORTS = [21300, 21600];
const PORTS_PER_RANGE = 100;
let handedOut = 0;

/**
 * Tests run side by side: what one was given no other is, until its process ends or has been given many more. The name
 * of an abstract socket is what they agree on.
 */
function reserve(port: number): Promise<boolean> {
  const mark = createServer().unref();
  return new Promise((resolve) => {
    mark.once('error', () => resolve(false));
    mark.listen(`\0dqlited-test-port-${port}`, () => {
      marks.push(mark);
      if (marks.length > RESERVED_PORTS) marks.shift()?.close();
      resolve(true);
    });
  });
}

const RESERVED_PORTS = 64;
const marks: Server[] = [];

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

class Child implements ServerProcess {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #log = '';

  constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code) => resolve(code));
      child.once('error', (error) => {
        this.#log += String(error);
        resolve(null);
      });
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      if (this.#log.length < MAXIMUM_LOG_BYTES) this.#log += bytes.toString();
    });
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get processId(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get ending(): string {
    const { exitCode, signalCode } = this.#child;
    if (this.running) return 'running';
    return signalCode === null ? `ended with exit code ${exitCode}` : `ended by ${signalCode}`;
  }

  log(): string {
    return this.#log;
  }

  residentBytes(): number {
    const status = readFileSync(`/proc/${this.processId}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  }

  async untilReady(ready: string): Promise<void> {
    let output = '';
    const said = new Promise<'ready'>((resolve) => {
      this.#child.stdout?.on('data', (bytes: Buffer) => {
        output += bytes.toString();
        if (output.startsWith(ready)) resolve('ready');
      });
    });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), START_TIMEOUT_MS);
    const first = await Promise.race([said, this.#exited]);
    clearTimeout(timer);
    if (first !== 'ready') throw new Error(`the server did not start: ${output}${this.#log}`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const code = await this.#exited;
    clearTimeout(timer);
    return code;
  }
}
