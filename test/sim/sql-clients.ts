import type { ServerId } from '../../src/base/ids.ts';
import type { Random } from '../../src/base/random.ts';
import type { Response } from '../../src/protocol/responses.ts';
import { request } from '../support/wire.ts';
import { GatewayConnection, NoAnswer } from './gateway-connection.ts';
import { type Begun, Histories } from './histories.ts';
import type { Host } from './host.ts';
import { type ClientOptions, calmThinkMs } from './register-clients.ts';
import type { Clients } from './service.ts';
import type { SqlService } from './sql-service.ts';
import { Violation } from './violation.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Failures that say for certain that nothing was executed, by their codes. */
const certainCodes: ReadonlySet<number> = new Set([5, 517, 10250]);

/** Longest time that bytes are on their way: clients are close to their servers. */
const maxDelayMs = 2;

const schema =
  'CREATE TABLE IF NOT EXISTS registers (id INTEGER PRIMARY KEY, value INTEGER);' +
  'CREATE TABLE IF NOT EXISTS journal (number INTEGER)';

/** The server answered with a failure. */
class Refused extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(`${code} ${message}`);
    this.code = code;
  }
}

/**
 * Clients that speak the client protocol with the gateways: they look for the leader, write registers, alone or in a
 * transaction together with a line of a journal, and read both. The journal holds each acknowledged line once, and no
 * line that was refused.
 */
export class SqlClients implements Clients {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #options: ClientOptions;
  readonly #hosts: readonly Host<SqlService>[];
  readonly #histories: Histories;
  #calm = false;
  #hasSchema = false;
  #lines = 0;
  /** Whoever reads where leadership may have gone: a connection to each such host, while it is answered. */
  readonly #probes = new Map<ServerId, GatewayConnection>();
  readonly #probing = new Set<ServerId>();
  readonly #acknowledgedLines = new Set<number>();
  readonly #refusedLines = new Set<number>();

  constructor(
    clock: VirtualClock,
    random: Random,
    options: ClientOptions,
    hosts: readonly Host<SqlService>[],
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#hosts = hosts;
    this.#histories = new Histories(options.registers);
  }

  get acknowledged(): number {
    return this.#histories.acknowledged;
  }

  get reads(): number {
    return this.#histories.reads;
  }

  start(): void {
    for (let client = 0; client < this.#options.clients; client++) void this.#live();
  }

  probe(id: ServerId): void {
    const host = this.#hosts.find((one) => one.id === id);
    if (host?.life !== undefined && !this.#probing.has(id)) void this.#probe(host);
  }

  calm(): void {
    this.#calm = true;
  }

  check(): string | undefined {
    return this.#histories.check();
  }

  async #live(): Promise<void> {
    let connection: GatewayConnection | undefined;
    for (;;) {
      await this.#think();
      try {
        if (connection === undefined || connection.closed) connection = await this.#connect();
        await this.#operate(connection);
      } catch (error) {
        if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
        connection?.hangUp();
        connection = undefined;
      }
    }
  }

  /** Whoever is asked says that it does not lead, or answers with what is so. */
  async #probe(host: Host<SqlService>): Promise<void> {
    this.#probing.add(host.id);
    let connection = this.#probes.get(host.id);
    try {
      if (connection === undefined || connection.closed) {
        connection = this.#dial(host);
        this.#probes.set(host.id, connection);
        await this.#call(connection, request.open('main.db'));
      }
      if (this.#random.int(0, 1) === 0) await this.#readJournal(connection);
      else await this.#read(connection, this.#anyRegister(), false);
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
      connection?.hangUp();
    } finally {
      this.#probing.delete(host.id);
    }
  }

  #think(): Promise<void> {
    const { clients } = this.#options;
    const maxThinkMs = this.#calm ? calmThinkMs(clients) : this.#options.maxThinkMs;
    return new Promise((resolve) => {
      this.#clock.after(this.#random.int(0, maxThinkMs * 10) / 10, resolve);
    });
  }

  /** Asks anyone who leads, and opens the database there. */
  async #connect(): Promise<GatewayConnection> {
    let connection = this.#dial(this.#hosts[this.#random.int(0, this.#hosts.length - 1)]);
    const leader = await this.#call(connection, request.leader());
    if (leader.kind !== 'server') throw new Violation(`LEADER was answered with ${leader.kind}`);
    if (leader.id !== connection.host.id) {
      connection.hangUp();
      connection = this.#dial(this.#hosts.find((host) => host.id === leader.id));
    }
    await this.#call(connection, request.open('main.db'));
    if (!this.#hasSchema) await this.#call(connection, request.execSql(schema));
    this.#hasSchema = true;
    return connection;
  }

  #dial(host: Host<SqlService> | undefined): GatewayConnection {
    if (host?.life === undefined) throw new NoAnswer('connection refused');
    return new GatewayConnection(this.#clock, this.#random, host, maxDelayMs);
  }

  async #operate(connection: GatewayConnection): Promise<void> {
    const register = this.#anyRegister();
    const inTransaction = this.#random.int(0, 99) < 40;
    const readPercent = this.#calm ? 30 : this.#options.readPercent;
    if (this.#random.int(0, 99) < readPercent) {
      if (this.#random.int(0, 99) < 20) await this.#readJournal(connection);
      else await this.#read(connection, register, inTransaction);
      return;
    }
    const begun = this.#histories.begin('write', register, this.#clock.now());
    if (inTransaction) await this.#writeWithLine(connection, begun);
    else await this.#finish(connection, begun, upsert(begun));
  }

  #anyRegister(): number {
    return this.#random.int(0, this.#options.registers - 1);
  }

  /** The request that commits the write. */
  async #finish(connection: GatewayConnection, begun: Begun, commit: Buffer): Promise<void> {
    try {
      await this.#call(connection, commit);
      this.#histories.end(begun, this.#clock.now(), undefined);
    } catch (error) {
      if (isCertain(error)) this.#histories.forget(begun);
      throw error;
    }
  }

  async #writeWithLine(connection: GatewayConnection, begun: Begun): Promise<void> {
    const line = ++this.#lines;
    try {
      await this.#call(connection, request.execSql('BEGIN'));
      await this.#call(connection, request.execSql('INSERT INTO journal VALUES (?)', [line]));
      await this.#call(connection, upsert(begun));
    } catch (error) {
      // Nobody said COMMIT.
      this.#histories.forget(begun);
      this.#refusedLines.add(line);
      throw error;
    }
    try {
      await this.#finish(connection, begun, request.execSql('COMMIT'));
      this.#acknowledgedLines.add(line);
    } catch (error) {
      if (isCertain(error)) this.#refusedLines.add(line);
      throw error;
    }
  }

  async #read(
    connection: GatewayConnection,
    register: number,
    inTransaction: boolean,
  ): Promise<void> {
    if (inTransaction) await this.#call(connection, request.execSql('BEGIN'));
    const begun = this.#histories.begin('read', register, this.#clock.now());
    const sql = 'SELECT value FROM registers WHERE id = ?';
    const [value] = await this.#column(connection, request.querySql(sql, [register]));
    this.#histories.end(begun, this.#clock.now(), value);
    if (inTransaction) await this.#call(connection, request.execSql('COMMIT'));
  }

  async #readJournal(connection: GatewayConnection): Promise<void> {
    const expected = [...this.#acknowledgedLines];
    const lines = await this.#column(connection, request.querySql('SELECT number FROM journal'));
    const found = new Set(lines);
    if (found.size < lines.length) throw new Violation(`a line is in the journal twice: ${lines}`);
    const missing = expected.find((line) => !found.has(line));
    if (missing !== undefined)
      throw new Violation(`line ${missing} is not in the journal: ${lines}`);
    const wrong = lines.find((line) => this.#refusedLines.has(line));
    if (wrong !== undefined) throw new Violation(`line ${wrong} was refused and is in the journal`);
  }

  /** The first column of all rows. */
  async #column(connection: GatewayConnection, query: Buffer): Promise<number[]> {
    const values: number[] = [];
    let response = await this.#call(connection, query);
    for (;;) {
      if (response.kind !== 'rows')
        throw new Violation(`a query is answered with ${response.kind}`);
      for (const [value] of response.batch.rows) {
        if (value?.type !== 'integer') throw new Violation(`a ${value?.type} was read`);
        values.push(Number(value.value));
      }
      if (response.batch.done) return values;
      response = await connection.next(this.#options.timeoutMs);
    }
  }

  async #call(connection: GatewayConnection, message: Buffer): Promise<Response> {
    const response = await connection.call(message, this.#options.timeoutMs);
    if (response.kind === 'failure') throw new Refused(response.code, response.message);
    return response;
  }
}

function upsert({ register, operation }: Begun): Buffer {
  const sql =
    'INSERT INTO registers VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET value = excluded.value';
  return request.execSql(sql, [register, operation.value ?? 0]);
}

function isCertain(error: unknown): boolean {
  return error instanceof Refused && certainCodes.has(error.code);
}
