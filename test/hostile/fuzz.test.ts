import { connect } from 'node:net';
import t from 'tap';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { daemonFor, errorLines } from '../support/daemon.ts';
import { numberSetting } from '../support/settings.ts';
import { SqlConnection, WireFailure } from '../support/sql-connection.ts';
import { stillServes } from './conversation.ts';
import { databaseNames, FrameSource } from './frames.ts';

const seed = numberSetting('FUZZ_SEED', 1);
const frames = numberSetting('FUZZ_FRAMES', 20_000);

const timeoutMs = 120_000 + 2 * frames;
t.setTimeout(timeoutMs);

const AT_ONCE = 8;
const FRAMES_OF_CONNECTION = 24;
const FRAMES_BETWEEN_CHECKS = 5000;
/** A short log, so that the bound on memory means something; and snapshots are taken all the time. */
const flags = [
  ...['--statement-timeout', '300', '--busy-timeout', '20'],
  ...['--snapshot-threshold', '256', '--snapshot-trailing', '256'],
];
const PROGRESS_FRAMES = 100_000;
const MAXIMUM_RESIDENT_BYTES = 1 << 30;
/** How long the server may take to answer what was sent and close, once the client has ended. */
const CLOSE_TIMEOUT_MS = 30_000;

t.test('random frames neither stop it nor grow it', { timeout: timeoutMs }, async (t) => {
  const daemon = await daemonFor(t, flags);
  t.comment(`FUZZ_SEED=${seed} FUZZ_FRAMES=${frames}`);
  const random = seededRandom(seed);
  const source = new FrameSource(random);
  const begin = performance.now();
  let sent = 0;
  let checkAt = 0;
  while (sent < frames) {
    const batch = Array.from({ length: AT_ONCE }, () => script(source, random));
    await Promise.all(batch.map((one) => play(daemon.port, one)));
    sent += batch.reduce((sum, one) => sum + one.frames, 0);
    if (sent < checkAt) continue;
    checkAt = sent + FRAMES_BETWEEN_CHECKS;
    await stillServes(daemon.port);
    await deleteDatabases(daemon.port);
    const resident = daemon.residentBytes();
    if (sent % PROGRESS_FRAMES < FRAMES_BETWEEN_CHECKS) {
      t.comment(`${sent} frames, ${Math.round(resident / 2 ** 20)} MiB resident`);
    }
    const errors = errorLines(daemon);
    if (resident > MAXIMUM_RESIDENT_BYTES) t.fail(`${resident} bytes after ${sent} frames`);
    if (errors.length > 0) t.same(errors, [], `no error was logged in ${sent} frames`);
    if (!t.passing()) break;
  }
  const seconds = (performance.now() - begin) / 1000;
  const mebibytes = Math.round(daemon.residentBytes() / 2 ** 20);
  t.comment(`${sent} frames, ${Math.round(sent / seconds)}/s, ${mebibytes} MiB resident`);
  t.equal(await daemon.stop(), 0, 'it stops in order');
});

/** What frames write would grow without bound by itself. */
async function deleteDatabases(port: number): Promise<void> {
  for (const name of databaseNames) {
    const connection = await SqlConnection.open(port, name);
    await untilTurn(connection);
    await connection.exec('PRAGMA delete_database');
    await connection.exec('COMMIT');
    connection.close();
  }
}

/** The server may not have noticed yet that a writer has left. */
async function untilTurn(connection: SqlConnection): Promise<void> {
  const deadline = performance.now() + CLOSE_TIMEOUT_MS;
  for (;;) {
    try {
      await connection.exec('BEGIN IMMEDIATE');
      return;
    } catch (error) {
      const isBusy = error instanceof WireFailure && error.code === 5;
      if (!isBusy || performance.now() > deadline) throw error;
    }
  }
}

interface Script {
  readonly bytes: Buffer;
  readonly frames: number;
  /** Where the bytes are cut into segments. */
  readonly cuts: readonly number[];
  readonly ending: 'end' | 'reset' | 'destroy';
}

/** What one connection sends, cut into random segments, and how it ends. */
function script(source: FrameSource, random: Random): Script {
  const count = random.int(1, FRAMES_OF_CONNECTION);
  const parts = [source.opening()];
  // In one of three connections a third of the frames are wild, in the others only the last one.
  const wildness = random.int(0, 2);
  for (let i = 0; i < count; i++) {
    parts.push(source.next(wildness === 0 ? random.int(0, 2) === 0 : i === count - 1));
  }
  let bytes = Buffer.concat(parts);
  if (random.int(0, 9) === 0) bytes = bytes.subarray(0, random.int(0, bytes.length));
  const cuts = Array.from({ length: random.int(0, 4) }, () => random.int(0, bytes.length));
  const endings = ['end', 'end', 'end', 'reset', 'destroy'] as const;
  const ending = endings[random.int(0, endings.length - 1)] ?? 'end';
  return { bytes, frames: count, cuts: cuts.sort((a, b) => a - b), ending };
}

/** Sends a script, throws the answers away, resolves when the server has closed. */
function play(port: number, { bytes, cuts, ending }: Script): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const timer = setTimeout(() => {
      reject(new Error(`the server did not close: ${bytes.toString('hex')}`));
      socket.destroy();
    }, CLOSE_TIMEOUT_MS);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
    let from = 0;
    for (const to of cuts) {
      socket.write(bytes.subarray(from, to));
      from = to;
    }
    socket.write(bytes.subarray(from), () => {
      if (ending === 'end') socket.end();
      else if (ending === 'reset') socket.resetAndDestroy();
      else socket.destroy();
    });
  });
}
