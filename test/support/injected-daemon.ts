import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { type DaemonOptions, daemonCommand } from './daemon.ts';
import { outside } from './outside.ts';

/** Why no daemon can be injected with failures on this host; false when it can. */
export const noStrace =
  spawnSync('strace', ['-V']).status === 0 ? false : 'strace is not installed';

/** A daemon whose system calls strace makes fail, or take long. */
export class InjectedDaemon {
  readonly ended: Promise<number | null>;
  readonly ready: Promise<void>;
  readonly #child: ChildProcess;
  log = '';

  /** @param injection as strace has it: `pwritev2:error=EIO:when=30+` */
  constructor(options: DaemonOptions & { readonly port: number }, injection: string) {
    const { command, args } = daemonCommand(options);
    const [call] = injection.split(':');
    const tracing = ['-f', '-qq', '--seccomp-bpf', '-o', '/dev/null', '-e', `trace=${call}`];
    this.#child = spawn(
      ...outside('strace', [...tracing, '-e', `inject=${injection}`, command, ...args]),
      { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    );
    this.#child.stderr?.on('data', (bytes) => {
      this.log += bytes;
    });
    this.ready = new Promise((resolve) => this.#child.stdout?.once('data', () => resolve()));
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  /** Ends strace and what it traces. */
  kill(): void {
    if (this.#child.pid === undefined || this.#child.exitCode !== null) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}
