import type { PageStore } from '../vfs/page-store.ts';
import type { Engine } from './engine.ts';

const statements = [
  'CREATE TABLE t (a INTEGER PRIMARY KEY, b)',
  'INSERT INTO t (b) VALUES (1)',
  'SELECT * FROM t',
].map((sql) => Buffer.from(sql));

/**
 * Runs some SQL on a database that nobody sees. The first connection and the first statements of a process take about 50 ms,
 * since their code is compiled then: a server that takes over leadership should have that behind it.
 */
export function warmUp(engine: Engine, store: PageStore): void {
  const database = store.create('');
  const { leading } = store;
  store.leading = true;
  try {
    const connection = engine.connect(database);
    for (const sql of statements) {
      const { statement } = connection.prepare(sql);
      while (statement?.step() === true);
      statement?.finalize();
      while (connection.takeCaptured() !== undefined) database.commitOldest();
    }
    connection.close();
  } finally {
    store.leading = leading;
    database.close();
  }
}
