import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Test } from 'tap';
import { askControl, type Status } from '../../src/server/control.ts';
import { temporaryDirectory } from '../support/daemon.ts';
import { type ServerProcess, startServer } from '../support/server-process.ts';
import { LATENCY_MS } from './test-cluster.ts';

const program = join(import.meta.dirname, '../../bin/dqlited');
const PORT = 9001;

/** Why there can be no network namespaces here, as a command to try; undefined when there can. */
export function namespacesMissing(): string | undefined {
  const name = `dqlited-try-${process.pid}`;
  try {
    ip('netns', 'add', name);
    ip('link', 'add', `dt${process.pid}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    return undefined;
  } catch {
    return `not permitted: ip netns add ${name} && ip link add dt0 type veth peer name eth0 netns ${name}`;
  } finally {
    try {
      ip('netns', 'del', name);
    } catch {}
  }
}

/** A server on a host of its own. */
export interface Host {
  readonly number: number;
  readonly ip: string;
  readonly address: string;
  readonly directory: string;
  readonly process: ServerProcess;
}

/**
 * Servers in network namespaces on one bridge. Clients, in the namespace of the test, reach them all, whatever is
 * cut between them.
 */
export class SeparateHosts {
  readonly hosts: Host[] = [];
  /** Unique on this machine. */
  readonly #name = process.pid % 10_000;
  readonly #subnet = `10.${100 + (process.pid % 100)}.${Math.floor(process.pid / 100) % 250}`;
  readonly #base: string;

  private constructor(base: string) {
    this.#base = base;
  }

  /** The first starts a cluster, the others join it. */
  static async start(t: Test, count: number, flags: readonly string[]): Promise<SeparateHosts> {
    const all = new SeparateHosts(await temporaryDirectory(t));
    t.teardown(() => all.#remove());
    const bridge = all.#bridge;
    ip('link', 'add', bridge, 'type', 'bridge');
    ip('addr', 'add', `${all.#subnet}.254/24`, 'dev', bridge);
    ip('link', 'set', bridge, 'up');
    await all.#add(1, flags);
    const rest = Array.from({ length: count - 1 }, (_, i) => all.#add(i + 2, flags));
    await Promise.all(rest);
    all.hosts.sort((a, b) => a.number - b.number);
    return all;
  }

  get addresses(): string[] {
    return this.hosts.map(({ address }) => address);
  }

  /** Nothing gets from one of `some` to one of the others any more, nor back; connections just hear nothing. */
  cut(some: readonly Host[]): void {
    this.#routes('add', some);
  }

  heal(some: readonly Host[]): void {
    this.#routes('del', some);
  }

  status(host: Host): Promise<Status> {
    return askControl(host.directory, 'status', 10_000);
  }

  get #bridge(): string {
    return `dqb${this.#name}`;
  }

  #namespace(number: number): string {
    return `dq${this.#name}-${number}`;
  }

  #routes(verb: 'add' | 'del', some: readonly Host[]): void {
    for (const one of some) {
      for (const other of this.hosts) {
        if (some.includes(other)) continue;
        for (const [from, to] of [
          [one, other],
          [other, one],
        ] as const) {
          ip('-n', this.#namespace(from.number), 'route', verb, 'blackhole', `${to.ip}/32`);
        }
      }
    }
  }

  async #add(number: number, flags: readonly string[]): Promise<void> {
    const namespace = this.#namespace(number);
    const link = `dqv${this.#name}-${number}`;
    const address = `${this.#subnet}.${number}`;
    ip('netns', 'add', namespace);
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('link', 'set', link, 'master', this.#bridge, 'up');
    ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    const directory = join(this.#base, String(number));
    const first = `${this.#subnet}.1:${PORT}`;
    const args = [
      ...['start', '--id', String(number), '--address', `${address}:${PORT}`],
      ...['--data-dir', directory, '--network-latency', String(LATENCY_MS), ...flags],
      ...(number === 1 ? [] : ['--join', first]),
    ];
    const server = await startServer({
      command: 'ip',
      args: ['netns', 'exec', namespace, program, ...args],
      port: PORT,
      ready: 'ready',
    });
    this.hosts.push({
      number,
      ip: address,
      address: `${address}:${PORT}`,
      directory,
      process: server,
    });
  }

  async #remove(): Promise<void> {
    for (const { process: server } of this.hosts) await server.kill();
    for (const { number } of this.hosts) ip('netns', 'del', this.#namespace(number));
    ip('link', 'del', this.#bridge);
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}
