import type { ResponseOf } from '../protocol/responses.ts';
import { Connection } from './connection.ts';
import { pause, untilAborted } from './deadline.ts';
import { ClientError } from './errors.ts';

const FIRST_PAUSE_MS = 20;
/** An election takes a second or more: who looks for its winner so often loses little to the wait. */
const LONGEST_PAUSE_MS = 250;
/** One server may not hold up a round: a black hole answers nothing. */
const ATTEMPT_TIMEOUT_MS = 5000;
/** A leader that has just lost its place may name one that names another. */
const MAX_REDIRECTS = 3;

/** Servers by address, those most likely to lead first; grows by what the cluster says of itself. */
export class ServerList {
  readonly #given: readonly string[];
  #learned: readonly string[] = [];
  #lastLeader: string | undefined;

  constructor(given: readonly string[]) {
    this.#given = given;
  }

  /** The last leader, then voters, then the others, then what the caller named. */
  get addresses(): string[] {
    const last = this.#lastLeader === undefined ? [] : [this.#lastLeader];
    return [...new Set([...last, ...this.#learned, ...this.#given])];
  }

  learn(leader: string, servers: ResponseOf<'servers'>['servers']): void {
    this.#lastLeader = leader;
    const voters = servers.filter((server) => server.role === 'voter');
    const others = servers.filter((server) => server.role !== 'voter');
    this.#learned = [...voters, ...others].map((server) => server.address);
  }
}

/**
 * A connection to the leader: asks all servers at once, follows what they name, and tries again with growing
 * pauses until the signal ends it. What it learns of the cluster goes into `servers`.
 * @throws ClientError `noLeader` that says what each server answered
 */
export async function connectToLeader(
  servers: ServerList,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  let pauseMs = FIRST_PAUSE_MS;
  for (;;) {
    const answers = new Map<string, string>();
    const leader = await askAll(servers.addresses, answers, signal);
    if (leader !== undefined) {
      const { servers: members } = await leader.ask(
        { kind: 'cluster', format: 1n },
        'servers',
        signal,
      );
      servers.learn(leader.address, members);
      return leader;
    }
    try {
      await pause(pauseMs, signal);
    } catch (error) {
      throw noLeader(answers, error);
    }
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

/** One round: the first connection to a server that says it leads; undefined when none does. */
async function askAll(
  addresses: readonly string[],
  answers: Map<string, string>,
  signal: AbortSignal | undefined,
): Promise<Connection | undefined> {
  const found = new AbortController();
  const attempt = AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
  const ended = AbortSignal.any([found.signal, attempt, ...(signal === undefined ? [] : [signal])]);
  for (const address of addresses) answers.set(address, 'no answer');
  const attempts = addresses.map((address) => askOne(address, answers, ended));
  let winner: Connection | undefined;
  try {
    winner = await untilAborted(Promise.any(attempts), signal);
  } catch (error) {
    if (!(error instanceof AggregateError)) throw noLeader(answers, error);
  } finally {
    found.abort();
    // Several servers may have found their way to the leader: one connection is enough.
    for (const other of attempts) {
      other.then(
        (connection) => connection !== winner && connection.close(),
        () => {},
      );
    }
  }
  return winner;
}

async function askOne(
  address: string,
  answers: Map<string, string>,
  signal: AbortSignal,
): Promise<Connection> {
  let asked = address;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const leader = await leaderNamedBy(asked, signal).catch((error: Error) => {
      if (!signal.aborted) answers.set(asked, error.message);
      throw error;
    });
    if (leader.connection !== undefined) return leader.connection;
    answers.set(asked, leader.address === '' ? 'knows no leader' : `names ${leader.address}`);
    if (leader.address === '') break;
    asked = leader.address;
  }
  throw new ClientError('noLeader', `${address} leads to no leader`);
}

/** Asks one server; the connection stays open when it names itself. */
async function leaderNamedBy(
  address: string,
  signal: AbortSignal,
): Promise<{ address: string; connection?: Connection }> {
  const connection = await Connection.open(address, signal);
  try {
    const answer = await connection.ask({ kind: 'leader', unused: 0n }, 'server', signal);
    if (answer.address === address) return { address, connection };
    connection.close();
    return { address: answer.address };
  } catch (error) {
    connection.close();
    throw error;
  }
}

function noLeader(answers: ReadonlyMap<string, string>, cause: unknown): Error {
  if (cause instanceof ClientError && cause.code === 'aborted') return cause;
  const told = [...answers].map(([address, answer]) => `${address}: ${answer}`).join('; ');
  return new ClientError('noLeader', `found no leader (${told || 'no server answered'})`, {
    cause,
  });
}
