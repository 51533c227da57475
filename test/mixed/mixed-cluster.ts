import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Cluster } from '../../src/client/cluster.ts';
import { Database } from '../../src/client/database.ts';
import { ClientError } from '../../src/client/errors.ts';
import type { Role } from '../../src/protocol/log.ts';
import { cNodeCommand } from '../interop/c-node.ts';
import { daemonCommand } from '../support/daemon.ts';
import { type ServerCommand, type ServerProcess, startServer } from '../support/server-process.ts';
import { isFree } from './start-on.ts';

/** The two programs that form one cluster here. */
export type Kind = 'C' | 'dqlited';

export interface Member {
  readonly id: bigint;
  kind: Kind;
  readonly port: number;
  readonly address: string;
  readonly directory: string;
  process: ServerProcess;
}

export interface MixedOptions {
  /** First port; each server of the cluster takes the next one that is free. */
  readonly firstPort: number;
  /** Log entries between two snapshots, and kept behind one. Small: who was away gets a snapshot. */
  readonly snapshotEvery?: number;
  /** The election timeout is fifteen times this. */
  readonly latencyMs?: number;
  /** Server N is in failure domain N - 1, instead of all in 0. */
  readonly apart?: boolean;
  /** More flags of `dqlited start`. */
  readonly flags?: readonly string[];
}

/** Election timeout 300 ms, heartbeat 30 ms. */
export const LATENCY_MS = 20;
const DEADLINE_MS = 30_000;
const ATTEMPT_MS = 5000;
const PAUSE_MS = 30;

/**
 * Servers of both kinds in one cluster, as processes; roles are given by hand, as C servers expect it. What asks the
 * cluster repeats itself until it is so.
 */
export class MixedCluster {
  readonly members: Member[] = [];
  readonly directory: string;
  readonly #options: MixedOptions;
  readonly #databases = new Map<string, Database>();
  #nextPort: number;
  #nextId = 1n;

  private constructor(directory: string, options: MixedOptions) {
    this.directory = directory;
    this.#options = options;
    this.#nextPort = options.firstPort;
  }

  /** An empty cluster that goes, with its processes, when the test ends. */
  static async create(t: Test, options: MixedOptions): Promise<MixedCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'dqlited-mixed-'));
    const cluster = new MixedCluster(directory, options);
    t.teardown(async () => {
      for (const database of cluster.#databases.values()) database.close();
      await Promise.all(cluster.members.map((member) => member.process.kill()));
      await rm(directory, { recursive: true, force: true });
    });
    return cluster;
  }

  /** Starts a server: the first one bootstraps, each later one is added and gets `role`. */
  async add(kind: Kind, role: Role = 'voter'): Promise<Member> {
    const first = this.members.length === 0;
    const member = await this.start(kind);
    if (first) return member;
    await this.change(
      (cluster, signal) => cluster.add(member.id, member.address, signal),
      member.id,
    );
    await this.assign(member, role);
    return member;
  }

  /** Starts a server with an empty directory, of which the cluster knows nothing yet. */
  async start(kind: Kind): Promise<Member> {
    const id = this.#nextId++;
    const port = await this.#freePort();
    const directory = join(this.directory, String(id));
    await mkdir(directory);
    const details = { id, kind, port, directory, address: `127.0.0.1:${port}` };
    const process = await startServer(this.#commandOf(details));
    const member = { ...details, process };
    this.members.push(member);
    return member;
  }

  /** Starts a killed or stopped server again, on its directory, as the same or the other program. */
  async restart(member: Member, kind = member.kind): Promise<void> {
    member.kind = kind;
    member.process = await startServer(this.#commandOf(member));
  }

  /** Servers that should run and do not. */
  losses(): string[] {
    return this.members
      .filter(({ process }) => !process.running)
      .map(({ id, kind, process }) => {
        return `server ${id} (${kind}) ${process.ending}: ${process.log().slice(-1000)}`;
      });
  }

  /** Gives `member` a role and waits until the cluster says so. */
  async assign(member: Member, role: Role): Promise<void> {
    const isSo = async () => (await this.roles()).get(member.id) === role;
    if (await isSo()) return;
    await this.#until(`server ${member.id} is ${role}`, async () => {
      await this.#cluster()
        .assign(member.id, role, AbortSignal.timeout(DEADLINE_MS))
        .catch(ignoreRefusal);
      return isSo();
    });
  }

  /** Removes a server and ends its process. */
  async remove(member: Member): Promise<void> {
    await this.#until(`server ${member.id} is removed`, async () => {
      await this.#cluster().remove(member.id, AbortSignal.timeout(ATTEMPT_MS)).catch(ignoreRefusal);
      return !(await this.roles()).has(member.id);
    });
    await member.process.kill();
    this.members.splice(this.members.indexOf(member), 1);
  }

  /** Role by id, in the order of the configuration. */
  async roles(): Promise<Map<bigint, Role>> {
    let roles = new Map<bigint, Role>();
    await this.#until('the leader knows the members', async () => {
      const { members } = await this.#cluster().members(AbortSignal.timeout(ATTEMPT_MS));
      roles = new Map(members.map(({ id, role }) => [id, role]));
      return true;
    });
    return roles;
  }

  /** Who leads. */
  async leader(): Promise<Member> {
    let found: Member | undefined;
    await this.#until('there is a leader', async () => {
      const address = await this.#cluster().leader(AbortSignal.timeout(ATTEMPT_MS));
      found = this.members.find((member) => member.address === address);
      return found !== undefined;
    });
    if (found === undefined) throw new Error('no leader');
    return found;
  }

  /** Hands leadership to `member`. */
  async lead(member: Member): Promise<void> {
    await this.#until(`server ${member.id} leads`, async () => {
      if ((await this.leader()) === member) return true;
      const signal = AbortSignal.timeout(ATTEMPT_MS);
      await this.#cluster().transfer(member.id, signal).catch(ignoreRefusal);
      return (await this.leader()) === member;
    });
  }

  /** Runs a statement that may be run twice without harm, until it was acknowledged. */
  async exec(
    database: string,
    sql: string,
    parameters: readonly (string | number | Buffer)[] = [],
  ): Promise<void> {
    const client = this.#database(database);
    await this.#until(sql, async () => {
      await client.exec(sql, parameters, { timeoutMs: ATTEMPT_MS });
      return true;
    });
  }

  /** Runs statements in one transaction, again when it failed: they may be run twice without harm. */
  async transaction(database: string, statements: readonly string[]): Promise<void> {
    const client = this.#database(database);
    await this.#until(statements.join('; '), async () => {
      await client.transaction(
        async (transaction) => {
          for (const sql of statements) await transaction.exec(sql);
        },
        { timeoutMs: ATTEMPT_MS },
      );
      return true;
    });
  }

  /** A change after which server `id` is a member; repeated while the leader refuses it. */
  async change(
    request: (cluster: Cluster, signal: AbortSignal) => Promise<void>,
    id: bigint,
  ): Promise<void> {
    await this.#until(`server ${id} is a member`, async () => {
      await request(this.#cluster(), AbortSignal.timeout(ATTEMPT_MS)).catch(ignoreRefusal);
      return (await this.roles()).has(id);
    });
  }

  #database(name: string): Database {
    const known = this.#databases.get(name);
    if (known !== undefined) return known;
    const servers = this.members.map(({ address }) => address);
    const database = new Database({ servers, database: name, connections: 1 });
    this.#databases.set(name, database);
    return database;
  }

  #cluster(): Cluster {
    const running = this.members.filter((member) => member.process.running);
    return new Cluster(running.map(({ address }) => address));
  }

  /** Repeats `attempt` until it returns true; what it throws counts as not yet. */
  async #until(wish: string, attempt: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    let reason: unknown;
    do {
      try {
        if (await attempt()) return;
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        reason = error;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    } while (performance.now() < deadline);
    const logs = this.members.map(({ id, kind, process }) => {
      return `--- server ${id} (${kind}), ${process.ending}\n${process.log().slice(-4000)}`;
    });
    throw new Error(`not in time: ${wish} (${String(reason)})\n${logs.join('\n')}`);
  }

  #commandOf(member: Omit<Member, 'process'>): ServerCommand {
    const { id, port, directory, kind } = member;
    const { snapshotEvery: every = 20, latencyMs = LATENCY_MS, apart = false } = this.#options;
    const domain = apart ? Number(id) - 1 : 0;
    if (kind === 'C') {
      const options = [
        `threshold=${every}`,
        `trailing=${every}`,
        `latency=${latencyMs}`,
        `domain=${domain}`,
      ];
      return cNodeCommand({ directory, port, id: Number(id), options });
    }
    const flags = [
      ...['--network-latency', String(latencyMs), '--no-role-management'],
      ...['--failure-domain', String(domain)],
      ...['--snapshot-threshold', String(every), '--snapshot-trailing', String(every)],
      ...(id === 1n ? [] : ['--no-bootstrap']),
      ...(this.#options.flags ?? []),
    ];
    return daemonCommand({ directory, port, id: Number(id), flags });
  }

  async #freePort(): Promise<number> {
    while (!(await isFree(this.#nextPort))) this.#nextPort++;
    return this.#nextPort++;
  }
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof ClientError)) throw error;
}
