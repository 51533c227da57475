import type { ChildProcess } from 'node:child_process';
import type { ServerCommand } from '../test/support/server-process.ts';
import type { Conditions } from './cells.ts';
import { atExit, compile, run, startHelper } from './native.ts';

/**
 * A network namespace for each server. Clients reach them over a bridge without delay; what servers send each other goes
 * through a program that holds every packet for a while (native/slow-wire.c): this needs no netem in the kernel.
 */
export class DelayedNetwork {
  readonly #delayUs: number;
  readonly #name = `b${process.pid % 100_000}`;
  readonly #subnet = `10.${200 + (process.pid % 50)}.${Math.floor(process.pid / 50) % 250}`;
  #wire: ChildProcess | undefined;
  #forget = (): void => {};

  constructor(conditions: Conditions) {
    this.#delayUs = conditions.networkDelayMs * 1000;
  }

  hostOf(id: number): string {
    return `${this.#subnet}.${id}`;
  }

  inside(id: number, command: ServerCommand): ServerCommand {
    const args = ['netns', 'exec', this.#namespace(id), command.command, ...command.args];
    return { ...command, command: 'ip', args };
  }

  async connect(): Promise<void> {
    const program = compile('slow-wire');
    this.#forget = atExit(() => this.disconnect());
    run('ip', 'link', 'add', this.#bridge, 'type', 'bridge');
    run('ip', 'addr', 'add', `${this.#subnet}.254/24`, 'dev', this.#bridge);
    run('ip', 'link', 'set', this.#bridge, 'up');
    const ids = [1, 2, 3];
    for (const id of ids) this.#addNamespace(id);
    const ends = ids.flatMap((id) => [this.#namespace(id), this.hostOf(id)]);
    this.#wire = await startHelper(program, [String(this.#delayUs), ...ends]);
    for (const id of ids) {
      run('ip', '-n', this.#namespace(id), 'link', 'set', 'wire', 'mtu', '65500', 'up');
      for (const other of ids.filter((one) => one !== id)) {
        const route = [`${this.hostOf(other)}/32`, 'dev', 'wire', 'src', this.hostOf(id)];
        run('ip', '-n', this.#namespace(id), 'route', 'add', ...route);
      }
    }
  }

  disconnect(): void {
    this.#forget();
    this.#wire?.kill('SIGKILL');
    for (const id of [1, 2, 3]) quietly('ip', 'netns', 'del', this.#namespace(id));
    quietly('ip', 'link', 'del', this.#bridge);
  }

  get #bridge(): string {
    return `${this.#name}br`;
  }

  #namespace(id: number): string {
    return `${this.#name}-${id}`;
  }

  #addNamespace(id: number): void {
    const namespace = this.#namespace(id);
    const link = `${this.#name}v${id}`;
    run('ip', 'netns', 'add', namespace);
    run('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    run('ip', 'link', 'set', link, 'master', this.#bridge, 'up');
    run('ip', '-n', namespace, 'addr', 'add', `${this.hostOf(id)}/24`, 'dev', 'eth0');
    for (const name of ['eth0', 'lo']) run('ip', '-n', namespace, 'link', 'set', name, 'up');
  }
}

/** What was never made cannot be removed. */
function quietly(command: string, ...args: readonly string[]): void {
  try {
    run(command, ...args);
  } catch {}
}
