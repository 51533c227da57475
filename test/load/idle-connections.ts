/**
 * By hand: what idle connections cost, after each step of a session.
 * node --import=tsx test/load/idle-connections.ts [CONNECTIONS]   (needs ulimit -n above the number)
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDaemon } from '../support/daemon.ts';
import { handshake, request, WireConnection } from '../support/wire.ts';
import { line, secondsOf } from './print.ts';

const count = Number(process.argv[2] ?? 10_000);
const AT_ONCE = 100;

const directory = await mkdtemp(join(tmpdir(), 'dqlited-load-'));
const daemon = await startDaemon({ directory });
try {
  const connections: WireConnection[] = [];
  const before = daemon.residentBytes();
  line('before', `${mebibytes(before)} MiB resident`);
  const connect = async () => {
    for (let i = 0; i < count; i++) connections.push(await WireConnection.connect(daemon.port));
  };
  report('connected', await secondsOf(connect));
  report('LEADER', await secondsOf(() => all(Buffer.concat([handshake, request.leader()]))));
  report('OPEN', await secondsOf(() => all(request.open('idle'))));
  report(
    'a query',
    await secondsOf(() => all(request.querySql('SELECT count(*) FROM sqlite_schema'))),
  );
  report('PREPARE', await secondsOf(() => all(request.prepare('SELECT * FROM sqlite_schema'))));
  for (const connection of connections) connection.destroy();

  async function all(message: Buffer): Promise<void> {
    for (let i = 0; i < count; i += AT_ONCE) {
      const batch = connections.slice(i, i + AT_ONCE);
      for (const connection of batch) connection.send(message);
      const answers = await Promise.all(batch.map((one) => one.receive()));
      const failed = answers.find((one) => one.kind !== 'message' || one.bytes[4] === 0);
      if (failed !== undefined) throw new Error(`answered with ${failed.kind}`);
    }
  }

  function report(step: string, taken: string): void {
    const resident = daemon.residentBytes();
    const each = Math.round((resident - before) / count);
    line(step, `${mebibytes(resident)} MiB resident, ${each} bytes each; ${taken} for ${count}`);
  }
} finally {
  await daemon.kill();
  await rm(directory, { recursive: true, force: true });
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
