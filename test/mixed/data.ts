import type { Test } from 'tap';
import { disagreements } from './images.ts';
import type { MixedCluster } from './mixed-cluster.ts';

const DATABASES = ['one', 'two', 'three'];
/** Rows of a page each by which `fill` outgrows what it did before. */
const FILL_STEP = 20;

/** Three databases with known content: row `id` holds a blob of `id % 1000` bytes. */
export class Data {
  readonly #cluster: MixedCluster;
  #rows = 0;
  #acknowledged = 0;
  #filled = 0;
  #widest = 0;

  constructor(cluster: MixedCluster) {
    this.#cluster = cluster;
  }

  async create(): Promise<void> {
    for (const database of DATABASES) {
      await this.#cluster.exec(
        database,
        'CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, b BLOB)',
      );
    }
  }

  /** One entry of the log for each row. */
  async insert(rows: number): Promise<void> {
    for (let i = 0; i < rows; i++) {
      const id = ++this.#rows;
      const sql = 'INSERT OR REPLACE INTO t VALUES (?, ?)';
      const database = DATABASES[id % DATABASES.length] ?? '';
      await this.#cluster.exec(database, sql, [id, Buffer.alloc(id % 1000, id)]);
      this.#acknowledged++;
    }
  }

  /** Resolves when ten more rows were acknowledged. */
  async progress(): Promise<void> {
    const wanted = this.#acknowledged + 10;
    while (this.#acknowledged < wanted) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /**
   * Two transactions of so many pages at least, in the first database: rows and an index, then all rows anew. More
   * than before: C 1.11 does not shrink its files with VACUUM, and neither dumps nor takes snapshots of a database
   * whose file is longer than it once a thousand pages more were written.
   */
  async fill(): Promise<void> {
    this.#filled = this.#widest += FILL_STEP;
    await this.#cluster.transaction('one', [
      'CREATE TABLE IF NOT EXISTS f (id INTEGER PRIMARY KEY, b BLOB)',
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${this.#filled}) INSERT OR REPLACE INTO f SELECT i, randomblob(3500) FROM n`,
      'CREATE INDEX IF NOT EXISTS f_b ON f (length(b), id)',
    ]);
    await this.#cluster.transaction('one', ['UPDATE f SET b = randomblob(3600)']);
  }

  /** Deletes most of it and gives the pages back; to be followed by `fill`. */
  async empty(): Promise<void> {
    await this.#cluster.exec('one', 'DELETE FROM f WHERE id % 10');
    await this.#cluster.exec('one', 'VACUUM');
    this.#filled = this.#widest / 10;
  }

  /** All servers hold the same bytes, and in them what was acknowledged. */
  async check(t: Test, when = 'at the end'): Promise<void> {
    const addresses = this.#cluster.members.map(({ address }) => address);
    const wrong = this.#cluster.losses();
    for (const database of DATABASES) {
      const isFilled = this.#filled > 0 && database === 'one';
      const query = `SELECT count(*), sum(id), sum(length(b)) FROM t;${isFilled ? 'SELECT count(*) FROM f' : ''}`;
      const expected = [this.#expected(database), ...(isFilled ? [String(this.#filled)] : [])];
      wrong.push(...(await disagreements(addresses, database, query, expected.join('\n'))));
    }
    wrong.push(...this.#cluster.losses());
    t.same([...new Set(wrong)], [], `the same bytes on all servers, ${when}`);
  }

  #expected(database: string): string {
    const place = DATABASES.indexOf(database);
    let [count, sum, bytes] = [0, 0, 0];
    for (let id = 1; id <= this.#rows; id++) {
      if (id % DATABASES.length !== place) continue;
      count++;
      sum += id;
      bytes += id % 1000;
    }
    return `${count}|${sum}|${bytes}`;
  }
}
