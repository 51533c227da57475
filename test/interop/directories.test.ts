import t from 'tap';
import { daemonCommand, temporaryDirectory } from '../support/daemon.ts';
import { freePort, type ServerCommand, startServer } from '../support/server-process.ts';
import { SqlConnection } from '../support/sql-connection.ts';
import { cNodeCommand, cNodeMissing } from './c-node.ts';

type Kind = 'dqlited' | 'C node';

/** Snapshots at 40 entries: the directory has closed segments, snapshots and an open segment. */
const commandOf: Record<Kind, (directory: string, port: number) => ServerCommand> = {
  dqlited: (directory, port) => {
    const flags = ['--snapshot-threshold', '40', '--snapshot-trailing', '40'];
    return daemonCommand({ directory, port, flags });
  },
  'C node': (directory, port) => {
    return cNodeCommand({ directory, port, options: ['threshold=40', 'trailing=40'] });
  },
};

t.setTimeout(300_000);

for (const [first, second] of [
  ['C node', 'C node'],
  ['C node', 'dqlited'],
  ['dqlited', 'C node'],
] as const) {
  for (const end of ['stop', 'kill'] as const) {
    t.test(
      `a directory written by ${first} (${end}) goes on with ${second}, and back again`,
      { skip: cNodeMissing() ?? false },
      async (t) => {
        const directory = await temporaryDirectory(t);
        const port = await freePort();
        let rows = 0;
        for (const kind of [first, second, first]) {
          const server = await startServer(commandOf[kind](directory, port));
          t.teardown(() => server.kill());
          t.same(await contents(port), [rows, rows], `${kind} finds ${rows} rows`);
          rows = await write(port, rows);
          await server[end]();
        }
      },
    );
  }
}

/** Rows of two databases; a write before the read proves that both are usable. */
async function contents(port: number): Promise<number[]> {
  const counts: number[] = [];
  for (const database of ['one', 'two']) {
    const connection = await SqlConnection.open(port, database);
    await connection.exec('CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)');
    const found = await connection.query(
      "SELECT count(*) FROM t WHERE v = 'v' || id AND length(b) = id * 10",
    );
    const check = await connection.query('PRAGMA integrity_check');
    counts.push(check[0]?.[0] === 'ok' ? Number(found[0]?.[0]) : Number.NaN);
    connection.close();
  }
  return counts;
}

/** Adds 60 rows to each database, half of them in transactions of ten. */
async function write(port: number, rows: number): Promise<number> {
  for (const database of ['one', 'two']) {
    const connection = await SqlConnection.open(port, database);
    for (let id = rows + 1; id <= rows + 60; id++) {
      const inTransaction = id > rows + 30;
      if (inTransaction && id % 10 === 1) await connection.exec('BEGIN');
      const values = [id, `v${id}`, Buffer.alloc(id * 10)];
      await connection.exec('INSERT INTO t VALUES (?, ?, ?)', values);
      if (inTransaction && id % 10 === 0) await connection.exec('COMMIT');
    }
    await connection.exec('VACUUM');
    connection.close();
  }
  return rows + 60;
}
