import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { UsageError } from '../../src/base/errors.ts';
import type { ServerId } from '../../src/base/ids.ts';
import { bootstrap, bootstrapServerId, isFresh } from '../../src/storage/bootstrap.ts';
import { DataDirectory } from '../../src/storage/directory.ts';
import { inspectDirectory } from '../../src/storage/inspect.ts';
import { NodeDisk } from '../../src/storage/node-disk.ts';
import { realDirectory } from '../conformance/disk.ts';
import { append, entry, members, storeOn } from './store-support.ts';

const disk = new NodeDisk();
const fixtures = join(import.meta.dirname, '..', 'fixtures', 'samples');

t.test('a directory belongs to one process at a time', async (t) => {
  const path = join(await realDirectory(t), 'deep', 'data');
  const directory = await DataDirectory.open(path);
  t.equal((await stat(path)).mode & 0o777, 0o700);
  t.same(await readdir(path), ['dqlite-lock'], 'the lock file of C dqlite');
  await t.rejects(DataDirectory.open(path), UsageError);
  await t.rejects(DataDirectory.open(path), { message: /in use by another dqlited: stop it/ });
  t.equal((await inspectDirectory(disk, path)).inUseBy, 'another dqlited');
  await directory.close();
  await (await DataDirectory.open(path)).close();
});

t.test('a flock of C dqlite is respected', async (t) => {
  const path = await realDirectory(t);
  const lock = join(path, 'dqlite-lock');
  await writeFile(lock, '');
  const holder = spawn('flock', ['--no-fork', lock, 'sh', '-c', 'echo locked; read end'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  await once(holder.stdout, 'data');
  await t.rejects(DataDirectory.open(path), {
    message: new RegExp(`in use by process ${holder.pid}`),
  });
  holder.stdin.end();
  await once(holder, 'exit');
  await (await DataDirectory.open(path)).close();
});

t.test('the files of a go-dqlite application', async (t) => {
  const path = await realDirectory(t);
  execFileSync('tar', ['-xzf', join(fixtures, 'goapp_dirs.tar.gz'), '-C', path]);

  t.test('tell who the node is and whom it knows', async (t) => {
    const directory = await DataDirectory.open(join(path, 'n1'));
    t.same(await directory.identity(), { id: bootstrapServerId, address: '127.0.0.1:23901' });
    t.same(
      (await directory.cluster())?.map(({ id, address, role }) => [id, address, role]),
      [
        [3297041220608546238n, '127.0.0.1:23901', 'voter'],
        [5433924140275564236n, '127.0.0.1:23902', 'voter'],
        [940731132124080736n, '127.0.0.1:23903', 'voter'],
        [1617030442613038348n, '127.0.0.1:23904', 'standby'],
      ],
    );
    t.notOk(await directory.joining());
    const cluster = (await directory.cluster()) ?? [];
    await directory.writeCluster(cluster);
    t.same(await directory.cluster(), cluster);
    await directory.close();
  });

  t.test('are written so that it would go on with them', async (t) => {
    const directory = await DataDirectory.open(join(path, 'new'));
    t.equal(await directory.identity(), undefined);
    t.equal(await directory.cluster(), undefined);
    await directory.writeIdentity({ id: 12345678901234567890n as ServerId, address: '@node:1' });
    t.equal(
      await readFile(join(path, 'new', 'info.yaml'), 'utf8'),
      'ID: 12345678901234567890\nAddress: "@node:1"\nRole: 0\n',
    );
    t.same(await directory.identity(), { id: 12345678901234567890n, address: '@node:1' });
    t.equal((await directory.cluster())?.length, 1, 'never one file without the other');
    await directory.markJoining(true);
    t.ok(await directory.joining());
    await directory.markJoining(false);
    await directory.markJoining(false);
    t.notOk(await directory.joining());
    await directory.close();
  });

  t.test('that cannot be understood are a mistake to be named', async (t) => {
    for (const text of ['[', 'ID: x\nAddress: y\n', '', '- 1', 'ID: 1\nAddress: a:1\nRole: 9']) {
      const bad = await realDirectory(t);
      await writeFile(join(bad, 'info.yaml'), text);
      const directory = await DataDirectory.open(bad);
      await t.rejects(directory.identity(), UsageError);
      const report = await inspectDirectory(disk, bad);
      t.match(report.findings, [{ severity: 'error', what: /info.yaml cannot be understood/ }]);
      await directory.close();
    }
  });

  t.test('server-info of C is read too', async (t) => {
    const other = await realDirectory(t);
    await writeFile(join(other, 'server-info'), 'v1\n127.0.0.1:9001\n42\n');
    const directory = await DataDirectory.open(other);
    t.same(await directory.identity(), { id: 42n, address: '127.0.0.1:9001' });
    await directory.close();
  });
});

t.test('a new cluster starts with term 1 and one entry', async (t) => {
  const path = await realDirectory(t);
  t.ok(await isFresh(disk, path));
  await bootstrap(disk, path, members);
  t.same((await readdir(path)).sort(), ['0000000000000001-0000000000000001', 'metadata1']);
  t.equal(
    (await stat(join(path, '0000000000000001-0000000000000001'))).size,
    80,
    'as long as that of C',
  );
  t.notOk(await isFresh(disk, path));
  await t.rejects(bootstrap(disk, path, members), UsageError);
  const loaded = await storeOn(disk, path).load();
  t.same(loaded.vote, { term: 1, votedFor: undefined });
  t.match(loaded.entries, [{ index: 1, term: 1, type: 'change' }]);

  t.test('and takes up a bootstrap that was interrupted', async (t) => {
    const again = await realDirectory(t);
    await writeFile(join(again, 'metadata1'), await readFile(join(path, 'metadata1')));
    await writeFile(join(again, 'tmp-bootstrap'), 'x');
    t.ok(await isFresh(disk, again));
    await bootstrap(disk, again, members);
    t.equal((await storeOn(disk, again).load()).entries.length, 1);
  });
});

t.test('a report says what is there and what is wrong', async (t) => {
  const path = await realDirectory(t);
  await bootstrap(disk, path, members);
  const store = storeOn(disk, path);
  await store.load();
  await store.persist(append(entry(2, 1, 4144)));
  await store.persist(append(entry(3, 1, 4144)));
  await store.close();
  const name = '0000000000000002-0000000000000003';
  const report = await inspectDirectory(disk, path);
  t.match(report, {
    term: 1,
    votedFor: undefined,
    firstIndex: 1,
    lastIndex: 3,
    lastTerm: 1,
    configuration: { index: 1, value: members },
    findings: [],
    startable: true,
  });
  t.match(report.segments, [{ batches: 1 }, { name, kind: 'closed', batches: 2, end: 'exact' }]);

  const bytes = await readFile(join(path, name));
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  await writeFile(join(path, name), bytes);
  await mkdir(join(path, 'sub'));
  const before = await readdir(path);
  const damaged = await inspectDirectory(disk, path);
  t.match(damaged.findings, [
    {
      severity: 'error',
      path: join(path, name),
      offset: 8,
      what: /checksum/,
      nextStep: /join again/,
    },
  ]);
  t.notOk(damaged.startable);
  t.equal(damaged.lastIndex, 1);
  t.same(await readdir(path), before, 'nothing is touched');
});
