import { setTimeout as pause } from 'node:timers/promises';
import { Cluster } from '../src/client/cluster.ts';
import { lastingPort, type ServerProcess, startServer } from '../test/support/server-process.ts';
import type { Kind } from './kinds.ts';
import type { Surroundings } from './surroundings.ts';

const READY_TIMEOUT_MS = 30_000;
const ASK_TIMEOUT_MS = 5000;
const PAUSE_MS = 50;

/** Three servers of one kind, all voters, in fresh directories. */
export class ThreeServers {
  readonly servers: ServerProcess[] = [];
  readonly addresses: string[] = [];

  private constructor() {}

  /** Resolves when all are voters. */
  static async start(kind: Kind, surroundings: Surroundings): Promise<ThreeServers> {
    const all = new ThreeServers();
    try {
      for (const id of [1, 2, 3]) await all.#add(kind, surroundings, id);
      await all.#untilVoters(kind);
      return all;
    } catch (error) {
      await all.stop();
      throw error;
    }
  }

  /** The address of the leader. */
  leader(): Promise<string> {
    return new Cluster(this.addresses).leader(AbortSignal.timeout(READY_TIMEOUT_MS));
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async #add(kind: Kind, surroundings: Surroundings, id: number): Promise<void> {
    const directory = await surroundings.newDirectory(id);
    const host = surroundings.hostOf(id);
    const port = await lastingPort();
    const command = kind.commandOf({ id, host, port, directory, first: this.addresses[0] });
    this.servers.push(await startServer(surroundings.inside(id, command)));
    this.addresses.push(`${host}:${port}`);
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
    const next = this.addresses[members];
    if (next !== undefined) await cluster.add(BigInt(members + 1), next, signal);
  }
}
