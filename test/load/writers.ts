/**
 * By hand: rows a second of many connections that insert one row at a time, beside those of one, on one node; rounds in turn.
 * node --import=tsx test/load/writers.ts [CONNECTIONS] [ROUNDS] [SECONDS]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDaemon } from '../support/daemon.ts';
import { SqlConnection } from '../support/sql-connection.ts';
import { line } from './print.ts';

const [many = 64, rounds = 5, seconds = 5] = process.argv.slice(2).map(Number);

const directory = await mkdtemp(join(tmpdir(), 'dqlited-load-'));
const daemon = await startDaemon({ directory });
try {
  const connections: SqlConnection[] = [];
  for (let i = 0; i < many; i++) connections.push(await SqlConnection.open(daemon.port, 'app'));
  await connections[0]?.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const alone = await rowsPerSecond(connections.slice(0, 1));
    const together = await rowsPerSecond(connections);
    ratios.push(together / alone);
    line(`round ${round + 1}`, `1: ${Math.round(alone)} rows/s, ${many}: ${Math.round(together)}`);
  }
  ratios.sort((a, b) => a - b);
  const median = ratios[ratios.length >> 1] ?? Number.NaN;
  line('ratio', `${median.toFixed(1)} (${ratios.map((ratio) => ratio.toFixed(1)).join(', ')})`);
  for (const connection of connections) connection.close();
} finally {
  await daemon.kill();
  await rm(directory, { recursive: true, force: true });
}

/** An error, such as a locked database, ends the program. */
async function rowsPerSecond(connections: readonly SqlConnection[]): Promise<number> {
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let rows = 0;
  await Promise.all(
    connections.map(async (connection) => {
      while (performance.now() < end) {
        await connection.exec('INSERT INTO t (v) VALUES (?)', ['a row of text']);
        rows++;
      }
    }),
  );
  return (rows * 1000) / (performance.now() - begin);
}
