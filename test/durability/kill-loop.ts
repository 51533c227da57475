import type { Random } from '../../src/base/random.ts';
import { type ServerCommand, startAndKill, startServer } from '../support/server-process.ts';
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
  acknowledged: number;
  /** Sent, and the connection ended before the answer. */
  unanswered: number;
  /** Of those, how many were found afterwards. */
  unansweredFound: number;
  /** Broken promises, in words; empty when all is well. */
  readonly broken: string[];
}

/**
 * In each round: starts the server, loads it from several connections, kills it at a random moment, starts it again and
 * looks: every acknowledged unit is there exactly once, every unanswered one whole and once or not at all.
 */
export async function killLoop(
  command: ServerCommand,
  rounds: number,
  random: Random,
): Promise<KillReport> {
  const report: KillReport = { acknowledged: 0, unanswered: 0, unansweredFound: 0, broken: [] };
  const ledger = new Ledger();
  for (let round = 0; round < rounds && report.broken.length === 0; round++) {
    const server = await startServer(command);
    await createTable(command.port);
    await check(command.port, ledger, report, round);
    const loading = Array.from({ length: CONNECTIONS }, () => load(command.port, ledger, random));
    await ledger.untilAcknowledged(random.int(0, MAXIMUM_ACKNOWLEDGED));
    await new Promise((resolve) => setTimeout(resolve, random.int(0, MAXIMUM_DELAY_MS)));
    await server.kill();
    for (const failure of await Promise.all(loading)) {
      if (failure !== undefined) report.broken.push(`round ${round}: ${failure}`);
    }
    if (random.int(0, 2) === 0) await startAndKill(command, random.int(0, MAXIMUM_START_MS));
  }
  const server = await startServer(command);
  await check(command.port, ledger, report, rounds);
  await server.stop();
  report.acknowledged = ledger.count('acknowledged');
  report.unanswered = ledger.count('unanswered');
  return report;
}

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

async function createTable(port: number): Promise<void> {
  const connection = await SqlConnection.open(port, DATABASE);
  await connection.exec('CREATE TABLE IF NOT EXISTS t (unit INTEGER, n INTEGER, data BLOB)');
  connection.close();
}

/** Writes until the connection ends. Says what else went wrong. */
async function load(port: number, ledger: Ledger, random: Random): Promise<string | undefined> {
  try {
    const connection = await SqlConnection.open(port, DATABASE);
    for (;;) await writeUnit(connection, ledger, random);
  } catch (error) {
    if (error instanceof NoAnswer || isNetworkError(error)) return undefined;
    return String(error);
  }
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
    if (error instanceof WireFailure && error.code === BUSY) return;
    throw error;
  }
}

const BUSY = 5;

function isNetworkError(error: unknown): boolean {
  return error instanceof Error && /ECONN|EPIPE/.test(String((error as { code?: string }).code));
}

async function check(
  port: number,
  ledger: Ledger,
  report: KillReport,
  round: number,
): Promise<void> {
  const connection = await SqlConnection.open(port, DATABASE);
  const found = new Map<number, number>();
  const counts = 'SELECT unit, count(*), count(DISTINCT n) FROM t GROUP BY unit';
  for (const [unit, rows, distinct] of await connection.query(counts)) {
    found.set(Number(unit), rows === distinct ? Number(rows) : Number.NaN);
  }
  report.unansweredFound = 0;
  ledger.units.forEach(({ rows, state }, id) => {
    const there = found.get(id) ?? 0;
    if (there === rows && state !== 'acknowledged') report.unansweredFound++;
    const isRight = there === rows || (there === 0 && state !== 'acknowledged');
    if (!isRight) report.broken.push(`round ${round}: ${state} unit ${id}: ${there} of ${rows}`);
  });
  const integrity = await connection.query('PRAGMA integrity_check');
  if (integrity[0]?.[0] !== 'ok') report.broken.push(`round ${round}: ${String(integrity[0])}`);
  connection.close();
}
