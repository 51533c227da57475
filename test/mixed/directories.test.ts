import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { isJoining } from '../../src/storage/app-files.ts';
import { cNodeMissing } from '../interop/c-node.ts';
import { shellProgram } from '../interop/tools.ts';
import { temporaryDirectory } from '../support/daemon.ts';
import { Data } from './data.ts';
import { MixedCluster } from './mixed-cluster.ts';
import { startOn } from './start-on.ts';

// Many processes: a busy machine needs longer than other tests are given.
t.setTimeout(600_000);

t.test('the mark of a joining go-dqlite application makes the daemon wait, and goes', async (t) => {
  const cluster = await MixedCluster.create(t, { firstPort: 21970 });
  const first = await cluster.add('dqlited');
  const directory = await temporaryDirectory(t);
  const port = 21979;
  const self = `ID: 77\nAddress: 127.0.0.1:${port}\nRole: 0\n`;
  await writeFile(join(directory, 'info.yaml'), self);
  await writeFile(join(directory, 'cluster.yaml'), `- ${self.replaceAll('\n', '\n  ').trim()}\n`);
  await writeFile(join(directory, 'join'), '');
  await startOn(t, port, [
    ...['--data-dir', directory, '--join', first.address, '--network-latency', '20'],
  ]);
  const roles = await cluster.roles();

  t.equal(roles.get(77n), 'spare', 'ready means: a member');
  t.notOk(await isJoining(directory), 'the mark is gone');
});

const ends = [
  ['stop', 'kill'],
  ['kill', 'stop'],
] as const;
for (const [i, [first, next]] of ends.entries()) {
  t.test(
    `three servers change their program at once (${first}, then ${next}), and back`,
    { skip: cNodeMissing() ?? false, timeout: 60_000 },
    async (t) => {
      const cluster = await MixedCluster.create(t, { firstPort: 21960 + 3 * i });
      const data = new Data(cluster);
      for (let servers = 0; servers < 3; servers++) await cluster.add('dqlited');
      await data.create();
      await data.insert(50);
      for (const [kind, end] of [
        ['C', first],
        ['dqlited', next],
      ] as const) {
        await Promise.all(cluster.members.map(({ process }) => process[end]()));
        await Promise.all(cluster.members.map((member) => cluster.restart(member, kind)));
        await data.insert(50);
        await data.check(t, `after ${end}, as ${kind}`);
      }
    },
  );
}

t.test(
  'servers change their program one after the other, in place, and back',
  { skip: cNodeMissing() ?? false, timeout: 60_000 },
  async (t) => {
    const cluster = await MixedCluster.create(t, { firstPort: 21966 });
    const data = new Data(cluster);
    for (let servers = 0; servers < 3; servers++) await cluster.add('C');
    await data.create();
    await data.insert(50);
    for (const kind of ['dqlited', 'C'] as const) {
      for (const member of cluster.members) {
        await member.process.stop();
        await cluster.restart(member, kind);
        await data.insert(5);
      }
      await data.check(t, `all are ${kind}`);
    }
  },
);

const shell = shellProgram();
t.test(
  "the dqlite shell's .reconfigure changes the members in a directory of the daemon",
  { skip: shell.missing ?? false, timeout: 60_000 },
  async (t) => {
    const cluster = await MixedCluster.create(t, { firstPort: 21977 });
    const member = await cluster.add('dqlited');
    const data = new Data(cluster);
    await data.create();
    await data.insert(50);
    await member.process.stop();
    const wanted = join(cluster.directory, 'wanted.yaml');
    const line = (id: bigint, role: number) =>
      `- { ID: ${id}, Address: 127.0.0.1:${member.port + Number(id) - 1}, Role: ${role} }\n`;
    await writeFile(wanted, line(1n, 0) + line(2n, 2));
    const command = `.reconfigure ${member.directory} ${wanted}`;
    const said = execFileSync('dqlite', ['-s', member.address, 'one', command]);
    await cluster.restart(member);

    t.equal(said.toString().trim(), 'OK');
    const roles = [...(await cluster.roles())];
    t.same(roles, [
      [1n, 'voter'],
      [2n, 'spare'],
    ]);
    await data.insert(3);
    await data.check(t);
  },
);
