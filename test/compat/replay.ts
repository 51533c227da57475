import { SqlConnection, WireFailure } from '../support/sql-connection.ts';
import { type Received, WireConnection } from '../support/wire.ts';
import { decodeRows } from '../support/wire-rows.ts';
import { describeResponse, filesOf } from './describe.ts';
import { type Recorded, recordedAddress, substituted } from './recordings.ts';

/** One recorded response beside the one that the server under test gave. */
export interface Comparison {
  readonly case: string;
  readonly connection: string;
  /** Equal byte for byte once masked. */
  readonly equal: boolean;
  readonly recorded: string;
  readonly actual: string;
  /** The recorded rows were cut short by an INTERRUPT: they may arrive or not. */
  readonly cutShort: boolean;
}

export interface ReplayTarget {
  readonly port: number;
  readonly address: string;
}

const HANDSHAKE_BYTES = 8;
const PATIENCE_MS = 10_000;
/** How long "no response" is waited for. */
const SILENCE_MS = 300;
const INTERRUPT_TYPE = 10;
const EMPTY_TYPE = 8;
const NOT_LEADER = 10250;

/** The servers that stand for those of a recording. */
export interface Cast {
  /** The port of the server to which a connection of the recording goes. */
  portOf(connection: string): number;
  /** Addresses in the recording, and those that stand for them. */
  readonly addresses: ReadonlyMap<string, string>;
  /** Brings about what had happened to the recorded servers before a request; `expected` is its recorded response. */
  before(request: Recorded, expected: Received | undefined): Promise<void>;
  /** How long a response may take. */
  readonly patienceMs: number;
}

/** Plays a recording of one server against `target`. */
export function replay(events: readonly Recorded[], target: ReplayTarget): Promise<Comparison[]> {
  const from = recordedAddress(events);
  return replayOn(events, {
    portOf: () => target.port,
    addresses: new Map(from === undefined ? [] : [[from, target.address]]),
    before: async () => {},
    patienceMs: PATIENCE_MS,
  });
}

/**
 * Plays the client's side of a recording against the servers of `cast` in file order, connection by connection, and
 * compares each response. Only the servers' addresses differ: they are replaced in both directions.
 *
 * Masked, because two servers of one version differ there too: what pads a blob, and the pages of a DUMP (names,
 * sizes and the fixed fields of the database header are compared).
 */
export async function replayOn(events: readonly Recorded[], cast: Cast): Promise<Comparison[]> {
  const ours = events.map((event) => {
    const bytes = [...cast.addresses].reduce(
      (bytes, [from, to]) => substituted(bytes, from, to),
      event.bytes,
    );
    return { ...event, bytes };
  });
  const player = new Player(cast);
  try {
    for (const [i, event] of ours.entries()) {
      if (event.direction === 'c2s' && event.bytes.length > HANDSHAKE_BYTES) {
        const answer = ours
          .slice(i)
          .find((one) => one.direction === 's2c' && one.connection === event.connection);
        await cast.before(event, answer && expectation(answer));
      }
      await player.play(event);
    }
  } finally {
    player.end();
  }
  return player.comparisons;
}

interface Played {
  readonly wire: WireConnection;
  /** An INTERRUPT was sent whose EMPTY has not come yet. */
  interrupted: boolean;
  /** An EMPTY that came before the recorded rows ended. */
  early: Received | undefined;
  database: string | undefined;
}

class Player {
  readonly comparisons: Comparison[] = [];
  readonly #cast: Cast;
  readonly #connections = new Map<string, Played>();

  constructor(cast: Cast) {
    this.#cast = cast;
  }

  end(): void {
    for (const { wire } of this.#connections.values()) wire.destroy();
  }

  async play(event: Recorded): Promise<void> {
    if (event.direction === 'c2s') {
      if (event.bytes.length === 0) await this.#close(event);
      else await this.#send(event);
      return;
    }
    const expected = expectation(event);
    if (expected !== undefined) await this.#compare(event, expected);
  }

  async #send(event: Recorded): Promise<void> {
    let connection = this.#connections.get(event.connection);
    if (connection === undefined) {
      const wire = await WireConnection.connect(this.#cast.portOf(event.connection));
      connection = { wire, interrupted: false, early: undefined, database: undefined };
      this.#connections.set(event.connection, connection);
    }
    const type = event.bytes.length > 8 ? event.bytes.readUInt8(4) : -1;
    if (type === INTERRUPT_TYPE) connection.interrupted = true;
    if (type === 3) connection.database = event.bytes.toString('latin1', 8).split('\0')[0];
    connection.wire.send(event.bytes);
  }

  /** Closes the connection; what follows in the recording happens after the server noticed. */
  async #close({ connection: label }: Recorded): Promise<void> {
    const connection = this.#connections.get(label);
    this.#connections.delete(label);
    connection?.wire.destroy();
    if (connection?.database === undefined || this.#connections.size === 0) return;
    await untilWritable(this.#cast.portOf(label), connection.database);
  }

  async #compare(event: Recorded, expected: Received): Promise<void> {
    const connection = this.#connections.get(event.connection);
    if (connection === undefined) throw new Error(`nothing was sent on ${event.connection}`);
    const actual = connection.early ?? (await this.#next(connection, expected));
    const cutShort = connection.interrupted && typeOf(actual) === EMPTY_TYPE;
    const isEnd = typeOf(expected) === EMPTY_TYPE;
    connection.early = cutShort && !isEnd ? actual : undefined;
    if (isEnd) connection.interrupted = false;
    this.comparisons.push({
      case: event.name,
      connection: event.connection,
      equal: isSame(expected, actual),
      recorded: describeResponse(expected),
      actual: describeResponse(actual),
      cutShort: cutShort && !isEnd,
    });
  }

  #next(connection: Played, expected: Received): Promise<Received> {
    return connection.wire.receive(expected.kind === 'silent' ? SILENCE_MS : this.#cast.patienceMs);
  }
}

/** What the recording says comes next; undefined for remarks about the server process. */
export function expectation({ bytes, note }: Recorded): Received | undefined {
  if (bytes.length > 0) return { kind: 'message', bytes };
  if (note.startsWith('SERVER CLOSED')) return { kind: 'closed' };
  if (note.startsWith('NO RESPONSE')) return { kind: 'silent' };
  return undefined;
}

function typeOf(received: Received): number {
  return received.kind === 'message' ? received.bytes.readUInt8(4) : -1;
}

/** Equal byte for byte once masked. */
export function isSame(expected: Received, actual: Received): boolean {
  if (expected.kind !== 'message' || actual.kind !== 'message')
    return expected.kind === actual.kind;
  return masked(expected.bytes).equals(masked(actual.bytes));
}

/** A response without what differs between two servers of one version. */
export function masked(message: Buffer): Buffer {
  switch (message.readUInt8(4)) {
    case 7:
      return withoutBlobPadding(message);
    case 9:
      return withoutPages(message);
    default:
      return message;
  }
}

function withoutBlobPadding(message: Buffer): Buffer {
  const copy = Buffer.from(message);
  const body = copy.subarray(8);
  for (const [from, to] of decodeRows(body).paddings) body.fill(0, from, to);
  return copy;
}

/** Of a dump, what does not depend on the SQLite version: names, sizes, and the head of the database. */
function withoutPages(message: Buffer): Buffer {
  const parts: Buffer[] = [message.subarray(0, 8)];
  for (const { name, bytes } of filesOf(message.subarray(8))) {
    const head = Buffer.from(bytes.subarray(0, name.endsWith('-wal') ? 16 : 100));
    if (head.length === 100) {
      head.fill(0, 24, 28);
      head.fill(0, 92, 100);
    }
    parts.push(Buffer.from(`${name} ${bytes.length}`), head);
  }
  return Buffer.concat(parts);
}

/** Resolves when a new connection can take the write lock of `database`, which none holds where nobody leads. */
async function untilWritable(port: number, database: string): Promise<void> {
  for (;;) {
    const failure = await lockAndRelease(port, database);
    if (failure === undefined || failure.code === NOT_LEADER) return;
    if (failure.message !== 'database is locked') throw failure;
  }
}

async function lockAndRelease(port: number, database: string): Promise<WireFailure | undefined> {
  let connection: SqlConnection | undefined;
  try {
    connection = await SqlConnection.open(port, database);
    await connection.exec('BEGIN IMMEDIATE');
    await connection.exec('ROLLBACK');
    return undefined;
  } catch (error) {
    if (error instanceof WireFailure) return error;
    throw error;
  } finally {
    connection?.close();
  }
}
