import { Gateway } from '../../src/gateway/gateway.ts';
import { defaultSessionLimits, type SessionLimits } from '../../src/gateway/limits.ts';
import type { Output } from '../../src/gateway/output.ts';
import type { SlowStatement } from '../../src/gateway/request-watch.ts';
import type { Session } from '../../src/gateway/session.ts';
import type { Configuration } from '../../src/protocol/log.ts';
import { decodeResponse, type Response } from '../../src/protocol/responses.ts';
import { loadEngine } from '../../src/server/engine-loader.ts';
import type { Engine } from '../../src/sql/engine.ts';
import { SqlStateMachine, type StateMachineLimits } from '../../src/sql/state-machine.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';
import { FakeConsensus, selfId } from '../support/fake-consensus.ts';
import { handshake, type Parameter, request } from '../support/wire.ts';

const makeEngine = loadEngine('sqlite-wasm');

export interface HarnessOptions {
  readonly limits?: Partial<SessionLimits>;
  readonly machineLimits?: Partial<StateMachineLimits>;
  readonly configuration?: Configuration;
  /** Wraps the engine, to count or break what it does. */
  readonly wrapEngine?: (engine: Engine) => Engine;
  readonly failureDomain?: bigint;
  /** Do not lead from the start. */
  readonly following?: boolean;
}

/** A server without sockets, disk and other servers: real SQL under a Raft that does as the test says. */
export class Harness {
  readonly clock = new VirtualClock();
  readonly store = new PageStore();
  readonly machine: SqlStateMachine;
  readonly consensus: FakeConsensus;
  readonly gateway: Gateway;
  readonly stopped: string[] = [];
  readonly engineFailures: unknown[] = [];
  readonly slowStatements: SlowStatement[] = [];

  constructor(options: HarnessOptions = {}) {
    this.machine = new SqlStateMachine({
      clock: this.clock,
      store: this.store,
      limits: {
        maxDatabases: 100,
        maxSpeculativeTransactions: 1000,
        maxSpeculativePages: 10_000,
        ...options.machineLimits,
      },
      onStopped: (reason) => this.stopped.push(reason),
    });
    this.consensus = new FakeConsensus(options.configuration);
    this.consensus.machine = this.machine;
    const wrap = options.wrapEngine ?? ((engine) => engine);
    this.gateway = new Gateway({
      machine: this.machine,
      consensus: this.consensus,
      clock: this.clock,
      limits: { ...defaultSessionLimits, ...options.limits },
      engine: wrap(makeEngine(this.store)),
      replaceEngine: async (cause) => {
        this.engineFailures.push(cause);
        return wrap(makeEngine(this.store));
      },
      server: { id: selfId, failureDomain: options.failureDomain ?? 0n },
      onSlowStatement: (statement) => this.slowStatements.push(statement),
    });
    if (options.following !== true) this.consensus.lead();
  }

  /** A client that has sent the handshake. */
  connect(): Client {
    const client = new Client(this);
    client.send(handshake);
    return client;
  }

  /** A client with a database open. */
  async open(name = 'test.db'): Promise<Client> {
    const client = this.connect();
    client.send(request.open(name));
    await client.expect('database');
    return client;
  }

  /** Runs everything that is due, without letting time pass, until nothing happens any more. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      quiet++;
      while (this.clock.runNext(this.clock.now())) quiet = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Lets time pass, and everything happen that is due meanwhile. */
  async advance(ms: number): Promise<void> {
    const until = this.clock.now() + ms;
    await this.settle();
    while (this.clock.runNext(until)) await this.settle();
    await this.settle();
  }
}

/** The other end of a session: sends bytes, collects whole messages. */
export class Client implements Output {
  readonly harness: Harness;
  readonly session: Session;
  /** Whole messages that arrived and were not taken yet. */
  readonly messages: Buffer[] = [];
  /** How many writes reached the transport. */
  writes = 0;
  /** What is written is not taken by the network until `drain`. */
  stalled = false;
  closed = false;
  reading = true;
  peer: { readonly id: bigint; readonly address: string; readonly rest: Buffer } | undefined;
  bufferedBytes = 0;
  #bytes = Buffer.alloc(0);

  constructor(harness: Harness) {
    this.harness = harness;
    this.session = harness.gateway.accept(this);
  }

  write(bytes: Uint8Array): boolean {
    this.writes++;
    if (this.stalled) this.bufferedBytes += bytes.length;
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      if (this.#bytes.length < 8) return true;
      const size = 8 + 8 * this.#bytes.readUInt32LE(0);
      if (this.#bytes.length < size) return true;
      this.messages.push(this.#bytes.subarray(0, size));
      this.#bytes = this.#bytes.subarray(size);
    }
  }

  /** What the client sends while a statement keeps the event loop busy; undefined: it has gone. */
  arriving: Buffer | undefined = Buffer.alloc(0);

  readNow(): Buffer | undefined {
    const { arriving } = this;
    if (arriving !== undefined) this.arriving = Buffer.alloc(0);
    return arriving;
  }

  pauseReading(): void {
    this.reading = false;
  }

  resumeReading(): void {
    this.reading = true;
  }

  close(): void {
    this.closed = true;
  }

  becomePeer(id: bigint, address: string, rest: Buffer): void {
    this.peer = { id, address, rest };
  }

  /** The network takes everything that was written. */
  drain(): void {
    this.stalled = false;
    this.bufferedBytes = 0;
    this.session.drained();
  }

  send(...messages: Buffer[]): void {
    this.session.receive(Buffer.concat(messages));
  }

  /** The next message, once nothing happens any more. */
  async next(): Promise<Response | undefined> {
    if (this.messages.length === 0) await this.harness.settle();
    const bytes = this.messages.shift();
    return bytes === undefined ? undefined : decoded(bytes);
  }

  /** The next message, which must be of this kind. */
  async expect<K extends Response['kind']>(kind: K): Promise<Extract<Response, { kind: K }>> {
    const response = await this.next();
    if (response?.kind !== kind) throw new Error(`expected ${kind}, got ${show(response)}`);
    return response as Extract<Response, { kind: K }>;
  }

  async exec(sql: string, ...values: Parameter[]): Promise<string> {
    this.send(request.execSql(sql, values));
    return show(await this.next());
  }

  async query(sql: string, ...values: Parameter[]): Promise<string> {
    this.send(request.querySql(sql, values));
    return this.rows();
  }

  /** All batches of one answer. */
  async rows(): Promise<string> {
    const rows: string[] = [];
    for (;;) {
      const response = await this.next();
      if (response?.kind !== 'rows') return [...rows, show(response)].join(' ');
      for (const row of response.batch.rows) rows.push(row.map(showValue).join('|'));
      if (response.batch.done) return rows.join(' ');
    }
  }
}

/** A whole message from the server. */
export function decoded(bytes: Buffer): Response | undefined {
  const [type = 0, schema = 0] = bytes.subarray(4, 6);
  return decodeResponse({ type, schema, body: bytes.subarray(8) });
}

/** A response in one line: "result 1 2", "failure 5 database is locked". */
export function show(response: Response | undefined): string {
  if (response === undefined) return 'nothing';
  switch (response.kind) {
    case 'result':
      return `result ${response.lastInsertId} ${response.rowsAffected}`;
    case 'failure':
      return `failure ${response.code} ${response.message}`;
    case 'rows':
      return `rows ${response.batch.rows.length} ${response.batch.done ? 'done' : 'part'}`;
    case 'statement':
      return `statement ${response.statement} ${response.parameterCount}`;
    case 'statementWithTail':
      return `statement ${response.statement} ${response.parameterCount} ${response.tail}`;
    case 'server':
      return `server ${response.id} ${response.address}`;
    case 'metadata':
      return `metadata ${response.failureDomain} ${response.weight}`;
    default:
      return response.kind;
  }
}

function showValue(value: { readonly type: string; readonly value?: unknown }): string {
  if (value.value === undefined || value.value === null) return 'null';
  return value.value instanceof Uint8Array
    ? Buffer.from(value.value).toString('hex')
    : String(value.value);
}
