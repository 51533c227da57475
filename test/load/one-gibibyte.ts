/**
 * By hand: a database of a gibibyte is written, read, dumped and found again after a restart.
 * node --import=tsx test/load/one-gibibyte.ts [MEBIBYTES]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDaemon } from '../support/daemon.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { SqlConnection } from '../support/sql-connection.ts';
import { request } from '../support/wire.ts';
import { line, secondsOf } from './print.ts';

const DATABASE = 'large';
const ROW_BYTES = 64 * 1024;
const ROWS_OF_TRANSACTION = 16;
const mebibytes = Number(process.argv[2] ?? 1024);
const rows = (mebibytes * 2 ** 20) / ROW_BYTES;

const directory = await mkdtemp(join(tmpdir(), 'dqlited-load-'));
try {
  const first = await startDaemon({ directory });
  line('written', `${mebibytes} MiB in ${await secondsOf(() => fill(first))}`);
  await look(first);
  line('stopped', `in ${await secondsOf(() => first.stop())}`);
  let second = first;
  const starting = async () => {
    second = await startDaemon({ directory, port: first.port });
    await (await SqlConnection.open(second.port, DATABASE)).query('SELECT 1');
  };
  line('restarted', `to the first answer in ${await secondsOf(starting)}`);
  await look(second);
  await second.stop();
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function fill(daemon: ServerProcess): Promise<void> {
  const connection = await SqlConnection.open(daemon.port, DATABASE);
  await connection.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)');
  for (let id = 0; id < rows; id += ROWS_OF_TRANSACTION) {
    const sql = `WITH RECURSIVE s(x) AS (SELECT ${id} UNION ALL SELECT x+1 FROM s LIMIT ${ROWS_OF_TRANSACTION})
      INSERT INTO t SELECT x, randomblob(${ROW_BYTES}) FROM s`;
    await connection.exec(sql);
  }
  connection.close();
}

async function look(daemon: ServerProcess): Promise<void> {
  const connection = await SqlConnection.open(daemon.port, DATABASE);
  connection.timeoutMs = 300_000;
  const scan = 'SELECT count(*), sum(length(data)) FROM t';
  let found: unknown;
  const scanned = await secondsOf(async () => {
    found = await connection.query(scan);
  });
  line('scanned', `${String(found)} in ${scanned}`);
  const one = async () => {
    await connection.exec('UPDATE t SET data = zeroblob(100) WHERE id = 7');
  };
  line('one write', `in ${await secondsOf(one)}`);
  let size = 0;
  const dump = async () => {
    size = (await connection.call(request.dump(DATABASE))).length;
  };
  line('dumped', `in ${await secondsOf(dump)}, ${size} bytes`);
  line('memory', `${Math.round(daemon.residentBytes() / 2 ** 20)} MiB resident`);
  connection.close();
}
