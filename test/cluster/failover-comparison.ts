/**
 * How long writes stop when the leader is killed: this server beside C nodes, three of each, with the same latency
 * setting, under load from go-dqlite. Run by hand on a calm machine:
 *
 *   npx tsx test/cluster/failover-comparison.ts          ROUNDS=10 LATENCY_MS=50 CLIENTS=1
 *
 * A round is from kill -9 to the next acknowledged write. One writer: of several that write at once C nodes refuse some. At the end every acknowledged row must be there, once.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster } from '../../src/client/cluster.ts';
import { cNodeCommand, cNodeMissing } from '../interop/c-node.ts';
import { line } from '../load/print.ts';
import { daemonCommand } from '../support/daemon.ts';
import {
  lastingPort,
  type ServerCommand,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts';
import { numberSetting } from '../support/settings.ts';
import { GoLoad, goLoadMissing } from './go-load.ts';

const rounds = numberSetting('ROUNDS', 10);
const latencyMs = numberSetting('LATENCY_MS', 50);
const clients = numberSetting('CLIENTS', 1);

type CommandOf = (id: number, port: number, directory: string) => ServerCommand;

const kinds: Readonly<Record<string, CommandOf>> = {
  dqlited: (id, port, directory) => {
    const flags = [
      '--no-role-management',
      '--network-latency',
      String(latencyMs),
      ...(id === 1 ? [] : ['--no-bootstrap']),
    ];
    return daemonCommand({ id, port, directory, flags });
  },
  'C node': (id, port, directory) =>
    cNodeCommand({ id, port, directory, options: [`latency=${latencyMs}`] }),
};

const missing = goLoadMissing();
if (missing !== undefined) throw new Error(missing);
line(
  'election timeout',
  `${15 * latencyMs} ms; ${rounds} rounds each, ms from kill -9 to the next acknowledged write`,
);
for (const [name, commandOf] of Object.entries(kinds)) {
  const why = name === 'C node' ? cNodeMissing() : undefined;
  if (why !== undefined) {
    line(name, why);
    continue;
  }
  const pauses = await measure(commandOf);
  const sorted = [...pauses].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  line(name, `min ${sorted[0]}, median ${median}, max ${sorted.at(-1)}   (${pauses.join(' ')})`);
}

async function measure(commandOf: CommandOf): Promise<number[]> {
  const base = await mkdtemp(join(tmpdir(), 'dqlited-failover-'));
  const commands: ServerCommand[] = [];
  const servers: ServerProcess[] = [];
  try {
    for (const id of [1, 2, 3]) {
      const directory = join(base, String(id));
      await mkdir(directory);
      const command = commandOf(id, await lastingPort(), directory);
      commands.push(command);
      servers.push(await startServer(command));
      if (id > 1) await addVoter(servers, id);
    }
    return await kill(commands, servers);
  } finally {
    for (const server of servers) await server.kill();
    await rm(base, { recursive: true, force: true });
  }
}

async function kill(commands: readonly ServerCommand[], servers: ServerProcess[]) {
  const addresses = servers.map(({ address }) => address);
  const load = await GoLoad.start(addresses, { clients });
  const pauses: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await load.more(100);
    const at = addresses.indexOf(await new Cluster(addresses).leader());
    const killedAt = performance.now();
    await servers[at]?.kill();
    await load.more(100);
    pauses.push(load.longestPauseMs(killedAt));
    servers[at] = await startServer(commands[at] as ServerCommand);
    // The next round begins with three servers that follow one leader.
    await new Promise((resolve) => setTimeout(resolve, 30 * latencyMs));
  }
  await load.stop();
  const { lost, doubled } = await load.check();
  const { acknowledged, failed } = load;
  line(
    '',
    `${acknowledged.length} acknowledged, ${lost.length} lost, ${doubled.length} doubled, ${failed.length} failed`,
  );
  for (const { error } of failed) line('failed', error.message);
  return pauses;
}

async function addVoter(servers: readonly ServerProcess[], id: number): Promise<void> {
  const cluster = new Cluster([servers[0]?.address ?? '']);
  await cluster.add(BigInt(id), servers[id - 1]?.address ?? '');
  for (;;) {
    const { members } = await cluster.members();
    if (members.find((member) => member.id === BigInt(id))?.role === 'voter') return;
    // The roles of this server may be changing by themselves.
    await cluster.assign(BigInt(id), 'voter').catch(() => undefined);
  }
}
