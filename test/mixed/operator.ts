import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { cNodeCommand } from '../interop/c-node.ts';
import { daemonCommand } from '../support/daemon.ts';
import { outside } from '../support/outside.ts';
import { type ServerCommand, type ServerProcess, startServer } from '../support/server-process.ts';
import { disagreements } from './images.ts';
import { type Kind, MixedCluster } from './mixed-cluster.ts';

const execute = promisify(execFile);
const page = readFileSync(join(import.meta.dirname, '../../docs/migration.md'), 'utf8');

/** 10.0.0.N:9001 of the page is this port and N. */
const FIRST_PORT = 21980;
/** An election timeout of 750 ms: a busy machine must not elect another leader than the page names. */
const LATENCY_MS = 50;
const WAIT_MS = 30_000;

/** Types what the page says, on this machine. */
export class Operator {
  readonly #directory: string;
  readonly #servers = new Map<number, ServerProcess>();
  #environment: Record<string, string> = {};

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Three C servers at 10.0.0.1 to 10.0.0.3. */
  static async ofCCluster(t: Test): Promise<Operator> {
    const options = { firstPort: FIRST_PORT + 1, snapshotEvery: 200, latencyMs: LATENCY_MS };
    const cluster = await MixedCluster.create(t, options);
    const operator = new Operator(cluster.directory);
    t.teardown(() => operator.stopAllBut([]));
    for (let servers = 0; servers < 3; servers++) {
      const { port, process } = await cluster.add('C');
      operator.#servers.set(port - FIRST_PORT, process);
    }
    return operator;
  }

  /** The addresses in the group of `pattern`, as they are here. */
  addressesOf(pattern: string): string[] {
    return here(new RegExp(pattern).exec(page)?.[1] ?? '').split(',');
  }

  /** Every command of a section, in order. */
  async follow(heading: string): Promise<void> {
    const section = page.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
    const blocks = [...section.matchAll(/^```\w+\n(.*?)^```/gms)].map(([, block = '']) => block);
    for (const line of blocks.join('').trim().split('\n')) await this.#type(here(line));
  }

  /**
   * How a server of a kind ended without being told to; undefined while all run. 10.0.0.1 to 10.0.0.3 are C servers, as
   * the page has it.
   */
  endedByItself(kind: Kind): string | undefined {
    const servers = [...this.#servers].filter(([number]) => number < 10 === (kind === 'C'));
    const lost = servers.find(([, { running }]) => !running);
    return lost && `the ${kind} server at 10.0.0.${lost[0]} ${lost[1].ending}`;
  }

  /** Ends the servers at other addresses than these. */
  async stopAllBut(numbers: readonly number[]): Promise<void> {
    for (const [number, server] of this.#servers) {
      if (numbers.includes(number)) continue;
      this.#servers.delete(number);
      await server.kill();
    }
  }

  /** What is missing or different on the running servers: `rows` rows, each once, the same bytes everywhere. */
  lost(database: string, rows: number): Promise<string[]> {
    const addresses = [...this.#servers.values()].map(({ address }) => address);
    const query = 'SELECT count(*), count(DISTINCT n) FROM load';
    return disagreements(addresses, database, query, `${rows}|${rows}`);
  }

  async #type(line: string): Promise<void> {
    const [command = '', comment = ''] = line.split('#').map((part) => part.trim());
    const [program = '', ...args] = command.split(/[ (,)]+/);
    if (program === 'export') {
      const [name = '', value = ''] = command.slice('export '.length).split('=');
      this.#environment = { [name]: value };
    } else if (program === 'dqlite_node_create') {
      const [id, address = ''] = args;
      await this.#startC(Number(id), portOf(address));
    } else if (args[0] === 'start') {
      await this.#startOurs(command.split(' ').slice(1));
    } else if (comment !== '' && args[1] === 'list') {
      await this.#untilListShows(comment);
    } else if (program === 'dqlited') {
      await this.#dqlited(args);
    } else throw new Error(`the page has a command that this test does not know: ${line}`);
  }

  async #startC(id: number, port: number): Promise<void> {
    const options = [`latency=${LATENCY_MS}`];
    const directory = this.#directoryFor(port);
    await this.#start(cNodeCommand({ id, port, directory, options }));
  }

  async #startOurs(args: readonly string[]): Promise<void> {
    const port = portOf(args[args.indexOf('--address') + 1] ?? '');
    const { command } = daemonCommand({ directory: '', port });
    const flags = args.with(args.indexOf('--data-dir') + 1, this.#directoryFor(port));
    const latency = ['--network-latency', String(LATENCY_MS)];
    await this.#start({ command, args: [...flags, ...latency], port, ready: 'ready' });
  }

  async #start(command: ServerCommand): Promise<void> {
    this.#servers.set(command.port - FIRST_PORT, await startServer(command));
  }

  #directoryFor(port: number): string {
    const directory = join(this.#directory, `at-${port}-${this.#servers.size}`);
    mkdirSync(directory);
    return directory;
  }

  async #dqlited(args: readonly string[]): Promise<string> {
    const { command } = daemonCommand({ directory: '', port: 0 });
    const { stdout } = await execute(...outside(command, args), { env: this.#variables() });
    return stdout;
  }

  #variables(): NodeJS.ProcessEnv {
    // biome-ignore lint/style/noProcessEnv: the command inherits the environment of the test
    return { ...process.env, ...this.#environment };
  }

  /** Looks at the list until it shows "3 voters, 1 standby". */
  async #untilListShows(comment: string): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const list = await this.#dqlited(['cluster', 'list']);
      const isSo = [...comment.matchAll(/(\d+) (voter|standby|spare)/g)].every(
        ([, count, role = '']) => list.split(` ${role} `).length - 1 === Number(count),
      );
      if (isSo) return;
      if (performance.now() > deadline) throw new Error(`not "${comment}" in time:\n${list}`);
    }
  }
}

/** Addresses of the page, as they are here. */
function here(line: string): string {
  return line.replace(/10\.0\.0\.(\d+):9001/g, (_, n) => `127.0.0.1:${FIRST_PORT + Number(n)}`);
}

function portOf(address: string): number {
  return Number(/:(\d+)/.exec(address)?.[1]);
}
