import type { Random } from '../../src/base/random.ts';
import {
  type ServerCommand,
  type ServerProcess,
  startAndKill,
  startServer,
} from '../support/server-process.ts';
import { NoAnswer, SqlConnection, WireFailure } from '../support/sql-connection.ts';

const DATABASE = 'durable';
const CONNECTIONS = 6;
/** A kill comes after at most so many units of its round, and at most so much later. */
const MAXIMUM_ACKNOWLEDGED = 100;
const MAXIMUM_DELAY_MS = 30;
const MAXIMUM_START_MS = 600;
const ROWS_OF_TRANSACTION = 5;
const MAXIMUM_DATA_BYTES = 12_000;

/** What a kill loop saw. A number of rows stands for units: single rows or whole transactions. */
export interface KillReport {
  /** Processes that were killed while they served. */
  kills: number;
  acknowledged: number;
  /** Sent, and no answer came, or one that leaves open what became of it. */
  unanswered: number;
  /** Of those, how many were found afterwards. */
  unansweredFound: number;
  /** Broken promises, in words; empty when all is well. */
  readonly broken: string[];
}

/**
 * In each round: starts the servers that do not run, loads them from several connections, kills the server (of several: one,
 * the leader, two or all, and goes on where a majority is left) at a random moment, starts again and looks: every
 * acknowledged unit is there exactly once, every unanswered one whole and once or not at all.
 */
export async function killLoop(
  commands: readonly ServerCommand[],
  rounds: number,
  random: Random,
): Promise<KillReport> {
  const broken: string[] = [];
  const report: KillReport = {
    kills: 0,
    acknowledged: 0,
    unanswered: 0,
    unansweredFound: 0,
    broken,
  };
  const ledger = new Ledger();
  const servers = new Servers(commands);
  for (let round = 0; round < rounds && broken.length === 0; round++) {
    await servers.start();
    await createTable(servers);
    await check(servers, ledger, report, round);
    const running = { over: false };
    const loading = Array.from({ length: CONNECTIONS }, () =>
      load(servers, ledger, random, running),
    );
    await ledger.untilAcknowledged(random.int(0, MAXIMUM_ACKNOWLEDGED));
    await new Promise((resolve) => setTimeout(resolve, random.int(0, MAXIMUM_DELAY_MS)));
    report.kills += await servers.kill(random);
    if (servers.hasMajority)
      await ledger.untilAcknowledged(random.int(0, MAXIMUM_ACKNOWLEDGED / 5));
    running.over = true;
    for (const failure of await Promise.all(loading)) {
      if (failure !== undefined) broken.push(`round ${round}: ${failure}`);
    }
    if (random.int(0, 2) === 0) await servers.startAndKillOne(random.int(0, MAXIMUM_START_MS));
  }
  await servers.start();
  await check(servers, ledger, report, rounds);
  await servers.stop();
  report.acknowledged = ledger.count('acknowledged');
  report.unanswered = ledger.count('unanswered');
  return report;
}

/** The servers of one cluster, some of which run. */
class Servers {
  readonly #commands: readonly ServerCommand[];
  readonly #running = new Map<ServerCommand, ServerProcess>();

  constructor(commands: readonly ServerCommand[]) {
    this.#commands = commands;
  }

  get ports(): number[] {
    return [...this.#running.keys()].map(({ port }) => port);
  }

  get hasMajority(): boolean {
    return this.#running.size * 2 > this.#commands.length;
  }

  async start(): Promise<void> {
    for (const command of this.#commands) {
      if (!this.#running.has(command)) this.#running.set(command, await startServer(command));
    }
  }

  async stop(): Promise<void> {
    for (const server of this.#running.values()) await server.stop();
  }

  /** Kills a number of them at once; how many. */
  async kill(random: Random): Promise<number> {
    const victims = await this.#victims(random);
    await Promise.all(victims.map((command) => this.#running.get(command)?.kill()));
    for (const command of victims) this.#running.delete(command);
    return victims.length;
  }

  /** Starts one that does not run and kills it so much later, ready or not. */
  async startAndKillOne(afterMs: number): Promise<void> {
    const command = this.#commands.find((one) => !this.#running.has(one));
    if (command !== undefined) await startAndKill(command, afterMs);
  }

  async #victims(random: Random): Promise<ServerCommand[]> {
    const all = [...this.#running.keys()];
    const shuffled = all
      .map((command) => ({ command, order: random.int(0, 1_000_000) }))
      .sort((a, b) => a.order - b.order)
      .map(({ command }) => command);
    const choice = random.int(0, 9);
    if (all.length === 1 || choice === 9) return all;
    if (choice >= 7) return shuffled.slice(0, 2);
    if (choice < 4) return shuffled.slice(0, 1);
    const leader = await findLeader(this);
    leader.connection.close();
    return all.filter(({ port }) => port === leader.port);
  }
}

/** Resolves with a connection to the server that leads, whichever that becomes. */
async function connectToLeader(servers: Servers, goOn = () => true): Promise<SqlConnection> {
  return (await findLeader(servers, goOn)).connection;
}

async function findLeader(
  servers: Servers,
  goOn = () => true,
): Promise<{ connection: SqlConnection; port: number }> {
  while (goOn()) {
    for (const port of servers.ports) {
      let connection: SqlConnection | undefined;
      try {
        connection = await SqlConnection.open(port, DATABASE);
        await connection.query('SELECT 1');
        return { connection, port };
      } catch (error) {
        connection?.close();
        if (!isPassing(error)) throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new NoAnswer('nobody is asked any more');
}

/** Another server leads, or will: nothing is wrong. */
function isPassing(error: unknown): boolean {
  if (error instanceof WireFailure) return PASSING_CODES.includes(error.code);
  return error instanceof NoAnswer || isNetworkError(error);
}

/** SQLite's BUSY; not the leader (and not executed); leadership was lost (and the outcome is unknown). */
const PASSING_CODES = [5, 10250, 10506];

type UnitState = 'sent' | 'acknowledged' | 'unanswered';

/** Every unit ever sent, with the rows it has and what became of it. */
class Ledger {
  readonly units: { rows: number; state: UnitState }[] = [];
  #awaited = 0;
  #wake: () => void = () => {};

  /** Resolves when so many more units have been acknowledged. */
  untilAcknowledged(more: number): Promise<void> {
    this.#awaited = more;
    if (more === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  add(rows: number): { id: number; settle: (state: UnitState) => void } {
    const unit = { rows, state: 'sent' as UnitState };
    this.units.push(unit);
    return {
      id: this.units.length - 1,
      settle: (state) => {
        unit.state = state;
        if (state === 'acknowledged' && --this.#awaited === 0) this.#wake();
      },
    };
  }

  count(state: UnitState): number {
    return this.units.filter((unit) => unit.state === state).length;
  }
}

async function createTable(servers: Servers): Promise<void> {
  for (;;) {
    const connection = await connectToLeader(servers);
    try {
      await connection.exec('CREATE TABLE IF NOT EXISTS t (unit INTEGER, n INTEGER, data BLOB)');
      return;
    } catch (error) {
      if (!isPassing(error)) throw error;
    } finally {
      connection.close();
    }
  }
}

/** Writes until it is over, on one connection after the other. Says what else went wrong. */
async function load(
  servers: Servers,
  ledger: Ledger,
  random: Random,
  running: { readonly over: boolean },
): Promise<string | undefined> {
  while (!running.over) {
    let connection: SqlConnection | undefined;
    try {
      connection = await connectToLeader(servers, () => !running.over);
      while (!running.over) await writeUnit(connection, ledger, random);
    } catch (error) {
      if (!isPassing(error)) return String(error);
    } finally {
      connection?.close();
    }
  }
  return undefined;
}

async function writeUnit(connection: SqlConnection, ledger: Ledger, random: Random): Promise<void> {
  const rows = random.int(0, 3) === 0 ? ROWS_OF_TRANSACTION : 1;
  const unit = ledger.add(rows);
  try {
    if (rows > 1) await connection.exec('BEGIN IMMEDIATE');
    for (let n = 0; n < rows; n++) {
      const data = Buffer.alloc(random.int(0, MAXIMUM_DATA_BYTES), unit.id & 255);
      await connection.exec('INSERT INTO t VALUES (?, ?, ?)', [unit.id, n, data]);
    }
    if (rows > 1) await connection.exec('COMMIT');
    unit.settle('acknowledged');
  } catch (error) {
    unit.settle('unanswered');
    throw error;
  }
}

function isNetworkError(error: unknown): boolean {
  return error instanceof Error && /ECONN|EPIPE/.test(String((error as { code?: string }).code));
}

async function check(
  servers: Servers,
  ledger: Ledger,
  report: KillReport,
  round: number,
): Promise<void> {
  const found = new Map<number, number>();
  const counts = 'SELECT unit, count(*), count(DISTINCT n) FROM t GROUP BY unit';
  for (const [unit, rows, distinct] of await query(servers, counts)) {
    found.set(Number(unit), rows === distinct ? Number(rows) : Number.NaN);
  }
  report.unansweredFound = 0;
  ledger.units.forEach(({ rows, state }, id) => {
    const there = found.get(id) ?? 0;
    if (there === rows && state !== 'acknowledged') report.unansweredFound++;
    const isRight = there === rows || (there === 0 && state !== 'acknowledged');
    if (!isRight) report.broken.push(`round ${round}: ${state} unit ${id}: ${there} of ${rows}`);
  });
  const integrity = await query(servers, 'PRAGMA integrity_check');
  if (integrity[0]?.[0] !== 'ok') report.broken.push(`round ${round}: ${String(integrity[0])}`);
}

/** Asks the leader, and the next one when it leads no more. */
async function query(servers: Servers, sql: string): ReturnType<SqlConnection['query']> {
  for (;;) {
    const connection = await connectToLeader(servers);
    try {
      return await connection.query(sql);
    } catch (error) {
      if (!isPassing(error)) throw error;
    } finally {
      connection.close();
    }
  }
}
