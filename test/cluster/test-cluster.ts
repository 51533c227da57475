import { join } from 'node:path';
import type { Test } from 'tap';
import { Cluster } from '../../src/client/cluster.ts';
import { askControl, type Status } from '../../src/server/control.ts';
import { startDaemon, temporaryDirectory } from '../support/daemon.ts';
import { lastingPort, type ServerProcess } from '../support/server-process.ts';
import { numberSetting } from '../support/settings.ts';

/** The default of the daemon: a machine has to starve a leader for three seconds until elections are held by themselves. */
export const LATENCY_MS = numberSetting('LATENCY_MS', 200);
/** The election timeout that follows. */
export const ELECTION_TIMEOUT_MS = 15 * LATENCY_MS;
const DEADLINE_MS = 60_000;

/** One server of a cluster, through all its restarts. */
export interface Node {
  readonly id: number;
  readonly address: string;
  readonly directory: string;
  process: ServerProcess;
}

/** Daemons of one cluster, each a process of its own. */
export class TestCluster {
  readonly nodes: Node[] = [];
  readonly #base: string;
  #lastId = 0;
  readonly #t: Test;
  readonly #flags: readonly string[];

  private constructor(t: Test, base: string, flags: readonly string[]) {
    this.#t = t;
    this.#base = base;
    this.#flags = ['--network-latency', String(LATENCY_MS), '--role-interval', '200', ...flags];
  }

  /** No server yet. Everything is gone when the test ends. */
  static async empty(t: Test, flags: readonly string[] = []): Promise<TestCluster> {
    return new TestCluster(t, await temporaryDirectory(t), flags);
  }

  /** That many servers, all but the first started to join; resolves when `voters` of them vote. */
  static async of(t: Test, count: number, flags: readonly string[] = []): Promise<TestCluster> {
    const cluster = await TestCluster.empty(t, flags);
    for (let i = 0; i < count; i++) await cluster.add();
    await cluster.untilRoles({ voter: Math.min(count, 3) });
    return cluster;
  }

  get addresses(): string[] {
    return this.nodes.map(({ address }) => address);
  }

  /** A client of the cluster's membership. */
  get members(): Cluster {
    return new Cluster(this.addresses);
  }

  /** Starts one more server, which joins the others when there are any. */
  async add(id = ++this.#lastId): Promise<Node> {
    const directory = join(this.#base, String(id));
    const join1 = this.nodes.length === 0 ? [] : ['--join', this.addresses.join(',')];
    const flags = [...this.#flags, ...join1];
    const process = await startDaemon({ directory, id, flags, port: await lastingPort() });
    const node = { id, address: process.address, directory, process };
    this.nodes.push(node);
    this.#t.teardown(() => node.process.kill());
    return node;
  }

  /** Starts a stopped server on its directory. */
  async start(node: Node): Promise<void> {
    const { directory, id, process } = node;
    node.process = await startDaemon({ directory, id, flags: this.#flags, port: process.port });
  }

  /** A server that was removed ends, and another joins in its place. */
  async replace(node: Node): Promise<Node> {
    await node.process.stop();
    this.nodes.splice(this.nodes.indexOf(node), 1);
    return this.add();
  }

  async leader(): Promise<Node> {
    return this.at(await this.members.leader(AbortSignal.timeout(DEADLINE_MS)));
  }

  at(address: string): Node {
    const node = this.nodes.find((candidate) => candidate.address === address);
    if (node === undefined) throw new Error(`no server at ${address}`);
    return node;
  }

  status(node: Node): Promise<Status> {
    return askControl(node.directory, 'status', 10_000);
  }

  /** Resolves when exactly so many members have these roles. */
  async untilRoles(wanted: Readonly<Record<string, number>>): Promise<void> {
    let roles: string[] = [];
    const signal = AbortSignal.timeout(DEADLINE_MS);
    await until(
      async () => {
        roles = (await this.members.members(signal)).members.map(({ role }) => role);
        return Object.entries(wanted).every(
          ([role, count]) => roles.filter((one) => one === role).length === count,
        );
      },
      () => `roles ${JSON.stringify(wanted)}, not ${roles}`,
    );
  }

  /** Resolves when every running member has applied what the leader has committed, and it is the same everywhere. */
  async untilApplied(nodes: readonly Node[] = this.nodes): Promise<void> {
    await until(
      async () => {
        const all = await Promise.all(nodes.map((node) => this.status(node)));
        const last = Math.max(...all.map(({ lastIndex }) => lastIndex));
        return all.every(({ appliedIndex }) => appliedIndex === last);
      },
      () => 'every server has applied everything',
    );
  }
}

/** Looks again and again; rejects after a minute with what was waited for. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: () => string,
): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
