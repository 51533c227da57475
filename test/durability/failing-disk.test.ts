import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { askControl } from '../../src/server/control.ts';
import { errorLines, startDaemon, temporaryDirectory } from '../support/daemon.ts';
import { InjectedDaemon, noStrace } from '../support/injected-daemon.ts';
import { freePort, type ServerProcess } from '../support/server-process.ts';
import { SqlConnection, WireFailure } from '../support/sql-connection.ts';

t.setTimeout(240_000);

/** A file system of its own: 48 MiB, of which a daemon's zeroed segments take 24. */
async function smallFileSystem(t: Test): Promise<string | undefined> {
  const place = await temporaryDirectory(t);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', place]);
  if (mounted.status !== 0) return undefined;
  t.teardown(() => void spawnSync('umount', ['-l', place]));
  return place;
}

/** Takes all space there is. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  const bytes = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeSync(file, bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  closeSync(file);
}

const insert = 'INSERT INTO t (body) VALUES (randomblob(65536))';

/** Inserts until one is refused; how many were acknowledged, and the refusal. */
async function insertUntilRefused(
  connection: SqlConnection,
  most: number,
): Promise<{ acknowledged: number; refusal: WireFailure | undefined }> {
  for (let acknowledged = 0; acknowledged < most; acknowledged++) {
    try {
      await connection.exec(insert);
    } catch (error) {
      if (error instanceof WireFailure) return { acknowledged, refusal: error };
      throw error;
    }
  }
  return { acknowledged: most, refusal: undefined };
}

function tidy(t: Test, daemon: ServerProcess): ServerProcess {
  t.teardown(() => daemon.kill());
  return daemon;
}

t.test('a full disk refuses writes, serves reads, says so, and goes on by itself', async (t) => {
  const place = await smallFileSystem(t);
  if (place === undefined) {
    t.pass('not shown here: a small file system takes root');
    return;
  }
  const directory = join(place, 'data');
  mkdirSync(directory);
  const daemon = tidy(t, await startDaemon({ directory }));
  const connection = await SqlConnection.open(daemon.port, 'app');
  await connection.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)');
  const before = await insertUntilRefused(connection, 10);
  fill(join(place, 'filler'));
  const full = await insertUntilRefused(connection, 1000);
  const acknowledged = BigInt(before.acknowledged + full.acknowledged);

  t.match(full.refusal, { code: 13, message: /no space left/ });
  t.same(await connection.query('SELECT count(*) FROM t'), [[acknowledged]]);
  t.match(await askControl(directory, 'status', 5000), { lacksSpace: true, state: 'leader' });
  const told = errorLines(daemon);
  t.equal(told.length, 1, told.join('\n'));
  t.match(told[0], /no space left on the device/);

  rmSync(join(place, 'filler'));
  const deadline = performance.now() + 60_000;
  let resumed = false;
  while (!resumed && performance.now() < deadline) {
    resumed = (await insertUntilRefused(connection, 1)).acknowledged === 1;
  }
  t.ok(resumed, 'writes are accepted again');
  t.match(await askControl(directory, 'status', 5000), { lacksSpace: false, state: 'leader' });
  connection.close();
  await daemon.kill();

  const again = tidy(t, await startDaemon({ directory, port: daemon.port }));
  const reader = await SqlConnection.open(again.port, 'app');
  t.same(await reader.query('SELECT count(*) FROM t'), [[acknowledged + 1n]]);
  reader.close();
  t.equal(await again.stop(), 0);
});

/** Resolves once `check` holds. */
async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`in vain waited until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

t.test(
  'a follower with a full disk holds nobody up, votes, and catches up by itself',
  async (t) => {
    const place = await smallFileSystem(t);
    if (place === undefined) {
      t.pass('not shown here: a small file system takes root');
      return;
    }
    const full = join(place, 'data');
    const [first, second] = [await temporaryDirectory(t), await temporaryDirectory(t)];
    mkdirSync(full);
    const leader = tidy(t, await startDaemon({ directory: first, id: 1 }));
    const join1 = ['--join', leader.address];
    const other = tidy(t, await startDaemon({ directory: second, id: 2, flags: join1 }));
    tidy(t, await startDaemon({ directory: full, id: 3, flags: join1 }));
    const voters = async (): Promise<number> => {
      const { servers } = await askControl(first, 'status', 5000);
      return servers.filter(({ role }) => role === 'voter').length;
    };
    await until('all three vote', async () => (await voters()) === 3);
    const connection = await SqlConnection.open(leader.port, 'app');
    await connection.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)');
    await insertUntilRefused(connection, 10);
    fill(join(place, 'filler'));
    const status = () => askControl(full, 'status', 5000);
    let rows = 10;
    for (; !(await status()).lacksSpace; rows += 10) {
      const { refusal } = await insertUntilRefused(connection, 10);
      if (refusal !== undefined) throw refusal;
    }
    const { refusal } = await insertUntilRefused(connection, 50);
    rows += 50;
    t.equal(refusal, undefined, 'the majority goes on');
    connection.close();

    // Its vote is needed now: the other is dead. It may not lead itself, since its log is behind.
    await other.kill();
    const before = await status();
    await leader.kill();
    const again = tidy(t, await startDaemon({ directory: first, id: 1, port: leader.port }));
    await until('the vote of the full server elects', async () => {
      const { leader, lacksSpace, term } = await status();
      return lacksSpace && leader?.id === 1n && term > before.term;
    });

    rmSync(join(place, 'filler'));
    await until('it has caught up', async () => {
      const [mine, theirs] = [await status(), await askControl(first, 'status', 5000)];
      return !mine.lacksSpace && mine.lastIndex === theirs.lastIndex && theirs.ready;
    });
    const reader = await SqlConnection.open(again.port, 'app');
    t.same(await reader.query('SELECT count(*) FROM t'), [[BigInt(rows)]]);
    reader.close();
  },
);

const injections: readonly [what: string, backend: string, injection: string][] = [
  ['a write of the log', 'thread', 'pwritev2:error=EIO:when=30+'],
  ['a write and its sync', 'node', 'pwrite64:error=EIO:when=60+'],
  ['a sync', 'node', 'fsync:error=EIO:when=14+'],
];

t.test('a failing disk ends the process at once with one line', { skip: noStrace }, async (t) => {
  for (const [what, backend, injection] of injections) {
    const directory = await temporaryDirectory(t);
    const port = await freePort();
    const flags = ['--disk-backend', backend];
    const failing = new InjectedDaemon({ directory, port, flags }, injection);
    t.teardown(() => failing.kill());
    await Promise.race([failing.ready, failing.ended]);
    let acknowledged = 0n;
    try {
      const connection = await SqlConnection.open(port, 'app');
      await connection.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)');
      for (; acknowledged < 2000n; acknowledged++) await connection.exec(insert);
      connection.close();
    } catch {
      // Whatever a client sees of a process that ends.
    }
    t.equal(await failing.ended, 1, `${what}: ${failing.log}`);
    const fatal = failing.log.split('\n').filter((line) => /"level":(50|60|"error")/.test(line));
    t.equal(fatal.length, 1, `${what}: ${fatal.join('\n')}`);
    t.match(fatal[0], /EIO/, what);

    const again = tidy(t, await startDaemon({ directory, port }));
    const reader = await SqlConnection.open(port, 'app');
    const rows = await reader.query('SELECT count(*) FROM t');
    const found = rows[0]?.[0] as bigint;
    t.ok(found === acknowledged || found === acknowledged + 1n, `${what}: ${found} rows`);
    t.comment(`${what}: ${acknowledged} acknowledged, ${found} found`);
    reader.close();
    t.equal(await again.stop(), 0);
  }
});
