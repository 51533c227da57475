/**
 * How long writes stop when the leader is killed: this server beside C nodes, three of each, with the same latency
 * setting. Run by hand on a calm machine:
 *
 *   npx tsx test/cluster/failover-comparison.ts          ROUNDS=10 LATENCY_MS=50
 *
 * One client writes without a pause and asks every server for the leader every few milliseconds, the same for both. A round is
 * from kill -9 to the next acknowledged write.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster, leaderKnownBy } from '../../src/client/cluster.ts';
import { Connection } from '../../src/client/connection.ts';
import { Session } from '../../src/client/session.ts';
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

const rounds = numberSetting('ROUNDS', 10);
const latencyMs = numberSetting('LATENCY_MS', 50);
const ASK_TIMEOUT_MS = 200;

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

let session: Session | undefined;

const missing = cNodeMissing();
if (missing !== undefined) line('no C node', missing);
line(
  'election timeout',
  `${15 * latencyMs} ms; ${rounds} rounds each, ms from kill -9 to the next acknowledged write`,
);
for (const [name, commandOf] of Object.entries(kinds)) {
  if (name === 'C node' && missing !== undefined) continue;
  const pauses = (await measure(commandOf)).sort((a, b) => a - b);
  const median = pauses[Math.floor(pauses.length / 2)];
  line(name, `min ${pauses[0]}, median ${median}, max ${pauses.at(-1)}   (${pauses.join(' ')})`);
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
    const addresses = servers.map(({ address }) => address);
    await write(addresses, 'CREATE TABLE IF NOT EXISTS t (v)');
    const pauses: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 20; i++) await write(addresses, 'INSERT INTO t VALUES (1)');
      const leader = await leaderOf(addresses);
      const at = addresses.indexOf(leader);
      const killedAt = performance.now();
      await servers[at]?.kill();
      await write(addresses, 'INSERT INTO t VALUES (2)');
      pauses.push(Math.round(performance.now() - killedAt));
      servers[at] = await startServer(commands[at] as ServerCommand);
      // The next round begins with three servers that follow one leader.
      await new Promise((resolve) => setTimeout(resolve, 30 * latencyMs));
    }
    return pauses;
  } finally {
    for (const server of servers) await server.kill();
    await rm(base, { recursive: true, force: true });
  }
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

/** The first server that says it leads. */
async function leaderOf(addresses: readonly string[]): Promise<string> {
  for (;;) {
    const answers = await Promise.all(
      addresses.map((address) =>
        leaderKnownBy(address, AbortSignal.timeout(ASK_TIMEOUT_MS)).catch(() => undefined),
      ),
    );
    const leads = addresses.find((address, i) => answers[i]?.address === address);
    if (leads !== undefined) return leads;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Tries until it is acknowledged. */
async function write(addresses: readonly string[], sql: string): Promise<void> {
  for (;;) {
    const signal = AbortSignal.timeout(2000);
    try {
      if (session?.usable !== true || !addresses.includes(session.connection.address)) {
        const leader = await leaderOf(addresses);
        session = await Session.open(await Connection.open(leader, signal), 'app', signal);
      }
      await session.exec(sql, [], signal);
      return;
    } catch {
      session?.close();
    }
  }
}
