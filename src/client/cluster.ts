import type { Role } from '../protocol/log.ts';
import type { Request } from '../protocol/requests.ts';
import type { Response, ResponseOf } from '../protocol/responses.ts';
import { clientRoleNumber } from '../protocol/roles.ts';
import { Connection } from './connection.ts';
import { connectToLeader, ServerList } from './leader.ts';

/** One server of the cluster. */
export type Member = ResponseOf<'servers'>['servers'][number];

/** What a server says of itself. */
export type Description = ResponseOf<'metadata'>;

/** Questions to a cluster and changes of its membership. Each call is one attempt until its signal ends it. */
export class Cluster {
  readonly #servers: ServerList;

  constructor(servers: readonly string[]) {
    this.#servers = new ServerList(servers);
  }

  /** Waits until there is a leader. */
  async leader(signal?: AbortSignal): Promise<string> {
    const connection = await connectToLeader(this.#servers, signal);
    connection.close();
    return connection.address;
  }

  /** The members in the order in which they were added, as the leader knows them. */
  async members(signal?: AbortSignal): Promise<{ leader: string; members: readonly Member[] }> {
    const { address, answer } = await this.#askLeader(
      { kind: 'cluster', format: 1n },
      'servers',
      signal,
    );
    return { leader: address, members: answer.servers };
  }

  /** Adds a server as a spare: it takes part when it gets a role. */
  async add(id: bigint, address: string, signal?: AbortSignal): Promise<void> {
    await this.#askLeader({ kind: 'add', id, address }, 'empty', signal);
  }

  /** Resolves when the server has caught up and the change is committed. */
  async assign(id: bigint, role: Role, signal?: AbortSignal): Promise<void> {
    const request = { kind: 'assign', id, role: BigInt(clientRoleNumber(role)) } as const;
    await this.#askLeader(request, 'empty', signal);
  }

  async remove(id: bigint, signal?: AbortSignal): Promise<void> {
    await this.#askLeader({ kind: 'remove', id }, 'empty', signal);
  }

  /** Hands leadership over; id 0 lets the leader choose. */
  async transfer(id: bigint, signal?: AbortSignal): Promise<void> {
    await this.#askLeader({ kind: 'transfer', id }, 'empty', signal);
  }

  async #askLeader<K extends Response['kind']>(
    request: Request,
    kind: K,
    signal: AbortSignal | undefined,
  ): Promise<{ address: string; answer: ResponseOf<K> }> {
    const connection = await connectToLeader(this.#servers, signal);
    try {
      return { address: connection.address, answer: await connection.ask(request, kind, signal) };
    } finally {
      connection.close();
    }
  }
}

/** Failure domain and weight of the server at `address`. */
export function describeServer(address: string, signal?: AbortSignal): Promise<Description> {
  return askServer(address, { kind: 'describe', format: 0n }, 'metadata', signal);
}

/** Sets the weight of the server at `address` until it restarts. */
export async function setWeight(
  address: string,
  weight: bigint,
  signal?: AbortSignal,
): Promise<void> {
  await askServer(address, { kind: 'weight', weight }, 'empty', signal);
}

/** The leader that one server knows; undefined when it knows none. */
export async function leaderKnownBy(
  address: string,
  signal?: AbortSignal,
): Promise<{ id: bigint; address: string } | undefined> {
  const leader = await askServer(address, { kind: 'leader', unused: 0n }, 'server', signal);
  return leader.id === 0n ? undefined : { id: leader.id, address: leader.address };
}

async function askServer<K extends Response['kind']>(
  address: string,
  request: Request,
  kind: K,
  signal: AbortSignal | undefined,
): Promise<ResponseOf<K>> {
  const connection = await Connection.open(address, signal);
  try {
    return await connection.ask(request, kind, signal);
  } finally {
    connection.close();
  }
}
