import { cp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { run } from '../../src/cli/main.ts';
import { Cluster } from '../../src/client/cluster.ts';
import { connect } from '../../src/client/database.ts';
import { inspectDataDirectory } from '../../src/server/inspection.ts';
import { cNodeMissing, startCNode } from '../interop/c-node.ts';
import { type Node, TestCluster, until } from './test-cluster.ts';

/** Three voters with a table of ten rows, all stopped. */
async function stoppedCluster(
  t: Test,
): Promise<{ cluster: TestCluster; nodes: [Node, Node, Node] }> {
  const cluster = await TestCluster.of(t, 3);
  const database = await connect({ servers: cluster.addresses, database: 'app' });
  await database.exec('CREATE TABLE rows (v)');
  for (let i = 0; i < 10; i++) await database.exec('INSERT INTO rows VALUES (?)', [i]);
  database.close();
  await cluster.untilApplied();
  for (const node of cluster.nodes) await node.process.kill();
  return { cluster, nodes: cluster.nodes as [Node, Node, Node] };
}

async function countRows(servers: readonly string[]): Promise<unknown> {
  const database = await connect({ servers, database: 'app', timeoutMs: 20_000 });
  await database.exec('INSERT INTO rows VALUES (?)', [-1]);
  const row = await database.query('SELECT count(*) AS c FROM rows').first();
  database.close();
  return row?.c;
}

async function recover(
  node: Node,
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const terminal = { in: Readable.from(['']), out, err, environment: {} };
  const code = await run(['recover', node.directory, ...args], terminal);
  return { code, out: String(out.read() ?? ''), err: String(err.read() ?? '') };
}

t.test('the last server of three is recovered alone, and others join again', async (t) => {
  const { cluster, nodes } = await stoppedCluster(t);
  const [first, ...lost] = nodes;
  const member = ['--member', `1=${first.address}`];
  const before = await inspectDataDirectory(first.directory);

  const dry = await recover(first, ...member, '--dry-run');
  t.equal(dry.code, 0);
  t.match(dry.out, `new entry  ${before.lastIndex + 1} of term ${(before.term ?? 0) + 1}`);
  t.match(dry.err, /nothing was changed/);
  t.strictSame((await inspectDataDirectory(first.directory)).lastIndex, before.lastIndex);

  t.equal((await recover(first, ...member)).code, 0);
  const after = await inspectDataDirectory(first.directory);
  t.match(after, {
    lastIndex: before.lastIndex + 1,
    lastTerm: (before.term ?? 0) + 1,
    startable: true,
  });

  for (const { directory } of lost) await rm(directory, { recursive: true });
  cluster.nodes.splice(1);
  await cluster.start(first);
  t.equal(await countRows(cluster.addresses), 11);
  await cluster.add(4);
  await cluster.add(5);
  await cluster.untilRoles({ voter: 3 });
});

t.test(
  'recovered members start from a copy of the directory; one left behind cannot win',
  async (t) => {
    const { cluster, nodes } = await stoppedCluster(t);
    const [first, second, third] = nodes;
    const members = [first, second].flatMap(({ id, address }) => ['--member', `${id}=${address}`]);

    t.equal((await recover(first, ...members)).code, 0);
    await rename(join(second.directory, 'info.yaml'), join(first.directory, '../info.yaml'));
    await rm(second.directory, { recursive: true });
    await cp(first.directory, second.directory, {
      recursive: true,
      filter: (path) => !/info\.yaml|control\.sock/.test(path),
    });
    await rename(join(first.directory, '../info.yaml'), join(second.directory, 'info.yaml'));
    // It should stay stopped. Started all the same, even with a majority of the old members, it wins no election.
    await Promise.all([second, third].map((node) => cluster.start(node)));
    await until(
      async () => (await cluster.status(third)).state !== 'follower',
      () => 'the server that was left behind to stand for election',
    );
    await cluster.start(first);

    t.equal(await countRows([first.address, second.address]), 11);
    const { members: now } = await new Cluster([first.address, second.address]).members();
    t.match(now, [{ id: 1n }, { id: 2n }]);
    t.equal((await cluster.status(third)).state === 'leader', false);
  },
);

t.test(
  'a recovered directory is accepted by a C node',
  { skip: cNodeMissing() ?? false },
  async (t) => {
    const { nodes } = await stoppedCluster(t);
    const [first] = nodes;
    t.equal((await recover(first, '--member', `1=${first.address}`)).code, 0);
    const { directory, process } = first;
    const server = await startCNode({ directory, port: process.port, options: ['latency=20'] });
    t.teardown(() => server.kill());
    t.equal(await countRows([first.address]), 11);
  },
);

t.test('a changed address is written into the directory', async (t) => {
  const cluster = await TestCluster.of(t, 1);
  const [node] = cluster.nodes as [Node];
  await node.process.stop();
  t.equal((await recover(node, '--member', '1=10.9.8.7:9001')).code, 0);
  t.match(await readFile(join(node.directory, 'info.yaml'), 'utf8'), 'Address: 10.9.8.7:9001');
});

t.test('members that make no sense are refused, and nothing changes', async (t) => {
  const cluster = await TestCluster.of(t, 1);
  const [node] = cluster.nodes as [Node];
  const one = `1=${node.address}`;
  t.match((await recover(node, '--member', one)).err, /is in use by another dqlited: stop it/);
  await node.process.stop();
  const { lastIndex } = await inspectDataDirectory(node.directory);
  const cases: [string[], RegExp][] = [
    [[], /required option '--member/],
    [['--member', '1'], /It must be ID=ADDRESS or ID=ADDRESS=ROLE/],
    [['--member', `${one}=king`], /It must be one of voter, standby, spare/],
    [['--member', `${one}=standby`], /a cluster needs a voter/],
    [['--member', one, '--member', '1=10.0.0.1:1'], /two --member have the same id/],
    [['--member', one, '--member', `2=${node.address}`], /two --member have the same address/],
    [['--member', '2=10.0.0.1:1'], /belongs to server 1: name it with --member 1=/],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await recover(node, ...args);
    t.equal(code, 2, args.join(' '));
    t.match(err, message, args.join(' '));
  }
  t.equal((await inspectDataDirectory(node.directory)).lastIndex, lastIndex);
});
