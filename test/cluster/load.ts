import { connect, type Database } from '../../src/client/database.ts';

/** A write that was acknowledged. */
interface Acknowledged {
  readonly value: number;
  readonly begunAt: number;
  readonly endedAt: number;
}

/**
 * Clients that insert one row after the other, each row with a number of its own, and remember which were
 * acknowledged. The table has no unique index: a row that is written twice is there twice.
 */
export class Load {
  readonly acknowledged: Acknowledged[] = [];
  /** Writes that failed, each with its error: they may have been executed or not. */
  readonly failed: { readonly value: number; readonly error: Error }[] = [];
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
    this.#databases = databases;
    this.#table = table;
    this.#workers = databases.map((database) => this.#work(database));
  }

  /** Ends after the writes under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }

  /** Resolves with the first write that begins from now on and is acknowledged. */
  async next(): Promise<Acknowledged> {
    const from = performance.now();
    for (;;) {
      const newest = this.acknowledged.at(-1);
      if (newest !== undefined && newest.endedAt >= from) {
        const found = this.acknowledged.find(({ begunAt }) => begunAt >= from);
        if (found !== undefined) return found;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Resolves when so many more writes are acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged.length + count;
    while (this.acknowledged.length < wanted) await new Promise((go) => setTimeout(go, 1));
  }

  /** The longest time without any acknowledgement between two instants. */
  longestPauseMs(from: number, to = performance.now()): number {
    const ends = this.acknowledged.map(({ endedAt }) => endedAt);
    const within = [from, ...ends.filter((at) => at >= from && at <= to), to].sort((a, b) => a - b);
    let longest = 0;
    for (const [i, at] of within.entries()) longest = Math.max(longest, at - (within[i - 1] ?? at));
    return Math.round(longest);
  }

  /** What the table says about the writes: acknowledged rows that are missing, rows that are there twice. */
  async check(): Promise<{ lost: number[]; doubled: number[]; invented: number[] }> {
    const rows = await this.#databases[0]?.query(`SELECT value FROM ${this.#table}`).all();
    const counts = new Map<number, number>();
    for (const row of rows ?? []) {
      const value = Number(row.value);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    const known = new Set([...this.acknowledged, ...this.failed].map(({ value }) => value));
    return {
      lost: this.acknowledged.map(({ value }) => value).filter((value) => !counts.has(value)),
      doubled: [...counts].filter(([, count]) => count > 1).map(([value]) => value),
      invented: [...counts.keys()].filter((value) => !known.has(value)),
    };
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

/** What `check` finds when all is well. */
export const allWell = { lost: [], doubled: [], invented: [] };
