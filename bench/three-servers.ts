import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Cluster } from '../src/client/cluster.ts';
import { lastingPort, type ServerProcess, startServer } from '../test/support/server-process.ts';
import type { Kind } from './kinds.ts';

const READY_TIMEOUT_MS = 30_000;
const ASK_TIMEOUT_MS = 5000;
const PAUSE_MS = 50;

/** Three servers of one kind, all voters, in fresh directories. */
export class ThreeServers {
  readonly servers: readonly ServerProcess[];
  readonly #base: string;

  private constructor(servers: readonly ServerProcess[], base: string) {
    this.servers = servers;
    this.#base = base;
  }

  /** Starts them below `parent`; resolves when all are voters. */
  static async start(kind: Kind, parent: string): Promise<ThreeServers> {
    const base = await mkdtemp(join(parent, 'dqlited-bench-'));
    const servers: ServerProcess[] = [];
    const all = new ThreeServers(servers, base);
    try {
      for (const id of [1, 2, 3]) {
        const directory = join(base, String(id));
        await mkdir(directory);
        const first = servers[0]?.address;
        const command = kind.commandOf({ id, port: await lastingPort(), directory, first });
        servers.push(await startServer(command));
      }
      await all.#untilVoters(kind);
      return all;
    } catch (error) {
      await all.stop();
      throw error;
    }
  }

  get addresses(): string[] {
    return this.servers.map(({ address }) => address);
  }

  /** The address of the leader. */
  leader(): Promise<string> {
    return new Cluster(this.addresses).leader(AbortSignal.timeout(READY_TIMEOUT_MS));
  }

  /** Ends them and removes what they wrote. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
    await rm(this.#base, { recursive: true, force: true });
  }

  /** Servers of ours join and get their roles by themselves; those of the C library are told. */
  async #untilVoters(kind: Kind): Promise<void> {
    const cluster = new Cluster(this.addresses);
    const deadline = performance.now() + READY_TIMEOUT_MS;
    let reason: unknown = 'not all are voters';
    while (performance.now() < deadline) {
      try {
        const { members } = await cluster.members(AbortSignal.timeout(ASK_TIMEOUT_MS));
        if (members.filter(({ role }) => role === 'voter').length === 3) return;
        if (!kind.isOurs) await this.#makeVoter(cluster, members.length);
      } catch (error) {
        reason = error;
      }
      await pause(PAUSE_MS);
    }
    throw new Error(`three servers of ${kind.name} did not come up: ${String(reason)}`);
  }

  /** One step towards three voters: adds the next server, or makes the newest a voter. */
  async #makeVoter(cluster: Cluster, members: number): Promise<void> {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
    if (members > 1) await cluster.assign(BigInt(members), 'voter', signal).catch(() => {});
    const next = this.servers[members];
    if (next !== undefined) await cluster.add(BigInt(members + 1), next.address, signal);
  }
}
