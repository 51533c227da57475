import { SqlConnection } from '../support/sql-connection.ts';
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

/** How long "no response" is waited for. */
const SILENCE_MS = 300;
const INTERRUPT_TYPE = 10;
const EMPTY_TYPE = 8;

/**
 * Plays the client's side of a recording against `target` in file order, connection by connection, and compares
 * each response. Only the server's address differs: it is replaced in both directions.
 *
 * Masked, because two servers of one version differ there too: what pads a blob, and the pages of a DUMP (names,
 * sizes and the fixed fields of the database header are compared).
 */
export async function replay(
  events: readonly Recorded[],
  target: ReplayTarget,
): Promise<Comparison[]> {
  const from = recordedAddress(events);
  const ours = (bytes: Buffer) =>
    from === undefined ? bytes : substituted(bytes, from, target.address);
  const player = new Player(target);
  try {
    for (const event of events) {
      await player.play({ ...event, bytes: ours(event.bytes) });
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
  readonly #target: ReplayTarget;
  readonly #connections = new Map<string, Played>();

  constructor(target: ReplayTarget) {
    this.#target = target;
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
      const wire = await WireConnection.connect(this.#target.port);
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
    await untilWritable(this.#target.port, connection.database);
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
    return connection.wire.receive(expected.kind === 'silent' ? SILENCE_MS : undefined);
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

function isSame(expected: Received, actual: Received): boolean {
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

/** Resolves when a new connection can take the write lock of `database`. */
async function untilWritable(port: number, database: string): Promise<void> {
  const connection = await SqlConnection.open(port, database);
  for (;;) {
    try {
      await connection.exec('BEGIN IMMEDIATE');
      await connection.exec('ROLLBACK');
      connection.close();
      return;
    } catch (error) {
      if (!(error instanceof Error) || error.message !== 'database is locked') throw error;
    }
  }
}
