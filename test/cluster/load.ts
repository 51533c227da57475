import { connect, type Database } from '../../src/client/database.ts';
import { Acknowledgements } from './acknowledgements.ts';

/**
 * Clients that insert one row after the other, each row with a number of its own, and remember which were
 * acknowledged. The table has no unique index: a row that is written twice is there twice.
 */
export class Load extends Acknowledgements {
  readonly #databases: Database[];
  readonly #table: string;
  readonly #workers: Promise<void>[];
  #next = 0;
  #stopped = false;

  /** Creates the table and starts so many clients. */
  static async start(servers: readonly string[], clients = 4, table = 'load'): Promise<Load> {
    const databases = await Promise.all(
      Array.from({ length: clients }, () =>
        connect({ servers, database: 'app', connections: 1, timeoutMs: 60_000 }),
      ),
    );
    await databases[0]?.exec(`CREATE TABLE IF NOT EXISTS ${table} (value)`);
    return new Load(databases, table);
  }

  private constructor(databases: Database[], table: string) {
    super();
    this.#databases = databases;
    this.#table = table;
    this.#workers = databases.map((database) => this.#work(database));
  }

  /** Ends after the writes under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }

  /** See `compare`; the rows are read through the leader. */
  async check(): Promise<ReturnType<Acknowledgements['compare']>> {
    const rows = await this.#databases[0]?.query(`SELECT value FROM ${this.#table}`).all();
    return this.compare((rows ?? []).map(({ value }) => Number(value)));
  }

  close(): void {
    for (const database of this.#databases) database.close();
  }

  async #work(database: Database): Promise<void> {
    while (!this.#stopped) {
      const value = this.#next++;
      const begunAt = performance.now();
      try {
        await database.exec(`INSERT INTO ${this.#table} VALUES (?)`, [value]);
        this.acknowledged.push({ value, begunAt, endedAt: performance.now() });
      } catch (error) {
        this.failed.push({ value, error: error as Error });
      }
    }
  }
}
