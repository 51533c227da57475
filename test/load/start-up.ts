/**
 * By hand: from the command to the first answer, on an empty directory and on the one it leaves.
 * node --import=tsx test/load/start-up.ts [TIMES]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDaemon } from '../support/daemon.ts';
import { freePort, type ServerProcess } from '../support/server-process.ts';
import { SqlConnection } from '../support/sql-connection.ts';
import { line, secondsOf } from './print.ts';

const times = Number(process.argv[2] ?? 3);
for (let i = 0; i < times; i++) {
  const directory = await mkdtemp(join(tmpdir(), 'dqlited-load-'));
  const port = await freePort();
  for (const kind of ['empty', 'used']) {
    let daemon: ServerProcess | undefined;
    const start = async () => {
      daemon = await startDaemon({ directory, port });
      const connection = await SqlConnection.open(port, 'started');
      await connection.exec('CREATE TABLE IF NOT EXISTS t (x)');
      connection.close();
    };
    line(`${kind} directory`, await secondsOf(start));
    await daemon?.stop();
  }
  await rm(directory, { recursive: true, force: true });
}
