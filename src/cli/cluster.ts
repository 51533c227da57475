import type { Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { Cluster, describeServer, type Member, setWeight } from '../client/cluster.ts';
import { signalOf } from '../client/deadline.ts';
import type { Role } from '../protocol/log.ts';
import { askControl } from '../server/control.ts';
import { address, choice, unsigned64 } from '../server/setting-kinds.ts';
import { type MemberDetails, memberTable } from './cluster-output.ts';
import { toJson } from './json.ts';
import { parserOf, type ServersOptions, withJson, withServers } from './shared-options.ts';
import { fieldList } from './table.ts';
import { print, say, type Terminal } from './terminal.ts';

interface ReadOptions extends ServersOptions {
  readonly json?: boolean;
}

interface ListOptions extends ReadOptions {
  readonly dataDir?: string;
}

const READ_TIMEOUT_MS = 10_000;
/** A server that catches up before it becomes a voter takes up to 50 s by the rules of the protocol. */
const CHANGE_TIMEOUT_MS = 60_000;
/** A server that does not answer in this time counts as unreachable. */
const PROBE_TIMEOUT_MS = 2000;

const role = choice(['voter', 'standby', 'spare'] as const satisfies readonly Role[]);

/** `dqlited cluster …`: who is in it, and changes of that. */
export function addClusterCommands(program: Command, terminal: Terminal): void {
  const cluster = program.command('cluster').description('show and change the members');
  addReading(cluster, terminal);
  addChanges(cluster, terminal);
}

function addReading(cluster: Command, terminal: Terminal): void {
  withJson(withServers(cluster.command('list'), READ_TIMEOUT_MS))
    .description('the servers, their roles and whether they can be reached')
    .option(
      '--data-dir <DIR>',
      'where the leader has its data, if it runs on this machine: shows how far each log reaches',
    )
    .action(async (options: ListOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const { leader, members } = await new Cluster(options.servers).members(signal);
      const logs = await logsOf(options);
      const details = await Promise.all(
        members.map(async (member) => ({
          ...(await probe(member.address)),
          ...logs.get(member.id),
        })),
      );
      const text = options.json
        ? membersJson(leader, members, details)
        : memberTable(leader, members, details);
      await print(terminal, text);
    });
  withJson(withServers(cluster.command('leader'), READ_TIMEOUT_MS))
    .description('the address of the leader')
    .action(async (options: ReadOptions) => {
      const leader = await new Cluster(options.servers).leader(
        signalOf({ timeoutMs: options.timeout }),
      );
      await print(terminal, options.json ? `${toJson({ address: leader })}\n` : `${leader}\n`);
    });
  withJson(withServers(cluster.command('describe'), READ_TIMEOUT_MS))
    .description('failure domain and weight of one server')
    .argument('[server]', 'its id or address (default: the leader)')
    .action(async (server: string | undefined, options: ReadOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const at = await addressOf(server, options, signal);
      const { failureDomain, weight } = await describeServer(at, signal);
      const fields = { address: at, failureDomain, weight };
      const lines = [
        ['address', at],
        ['failure domain', String(failureDomain)],
        ['weight', String(weight)],
      ] as const;
      await print(terminal, options.json ? `${toJson(fields)}\n` : fieldList(lines));
    });
}

function addChanges(cluster: Command, terminal: Terminal): void {
  withServers(cluster.command('weight'), READ_TIMEOUT_MS)
    .description(
      'set the weight of a server until it restarts: the heavier, the less it is preferred',
    )
    .argument('<server>', 'its id or address')
    .argument('<weight>', 'a whole number', parserOf(unsigned64(0n)))
    .action(async (server: string, weight: bigint, options: ServersOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      await setWeight(await addressOf(server, options, signal), weight, signal);
    });
  withServers(cluster.command('add'), CHANGE_TIMEOUT_MS)
    .description('add a server that was started with --no-bootstrap, and give it a role')
    .argument('<id>', 'the id that it was started with', parserOf(unsigned64(1n)))
    .argument('<address>', 'its address', parserOf(address))
    .argument('[role]', `${role.allowed} (default: spare)`, parserOf(role))
    .action(async (id: bigint, at: string, wanted: Role | undefined, options: ServersOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const members = new Cluster(options.servers);
      await members.add(id, at, signal);
      if (wanted !== undefined && wanted !== 'spare') await members.assign(id, wanted, signal);
      say(terminal, `server ${id} at ${at} is now a ${wanted ?? 'spare'}`);
    });
  withServers(cluster.command('remove'), CHANGE_TIMEOUT_MS)
    .description('remove a server for good; its data directory may not be used again')
    .argument('<server>', 'its id or address')
    .action(async (server: string, options: ServersOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const member = await memberOf(server, options, signal);
      await new Cluster(options.servers).remove(member.id, signal);
      say(terminal, `server ${member.id} at ${member.address} was removed: it may be stopped now`);
    });
  withServers(cluster.command('assign'), CHANGE_TIMEOUT_MS)
    .description('give a server another role; returns when it has caught up')
    .argument('<server>', 'its id or address')
    .argument('<role>', role.allowed, parserOf(role))
    .action(async (server: string, wanted: Role, options: ServersOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const member = await memberOf(server, options, signal);
      await new Cluster(options.servers).assign(member.id, wanted, signal);
      say(terminal, `server ${member.id} at ${member.address} is now a ${wanted}`);
    });
  withServers(cluster.command('transfer'), CHANGE_TIMEOUT_MS)
    .description('hand leadership to another voter')
    .argument('[server]', 'its id or address (default: the leader chooses)')
    .action(async (server: string | undefined, options: ServersOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const id = server === undefined ? 0n : (await memberOf(server, options, signal)).id;
      const members = new Cluster(options.servers);
      await members.transfer(id, signal);
      say(terminal, `${await members.leader(signal)} leads now`);
    });
}

/** The member that an id or an address names. */
async function memberOf(
  server: string,
  options: ServersOptions,
  signal: AbortSignal | undefined,
): Promise<Member> {
  const { members } = await new Cluster(options.servers).members(signal);
  const member = members.find(({ id, address: at }) => String(id) === server || at === server);
  if (member !== undefined) return member;
  const known = members.map(({ id, address: at }) => `${id} (${at})`).join(', ');
  throw new UsageError(`no server ${server} in the cluster: it has ${known}`);
}

/** An address as it is; an id is looked up; nothing means the leader. */
async function addressOf(
  server: string | undefined,
  options: ServersOptions,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (server === undefined) return new Cluster(options.servers).leader(signal);
  return /^\d+$/.test(server) ? (await memberOf(server, options, signal)).address : server;
}

/** How far the logs of the members reach, as the leader on this machine tells on its control socket. */
async function logsOf(
  options: ListOptions,
): Promise<Map<bigint, Pick<MemberDetails, 'lastIndex' | 'lag'>>> {
  if (options.dataDir === undefined) return new Map();
  const { lastIndex, servers, state } = await askControl(
    options.dataDir,
    'status',
    options.timeout,
  );
  if (state !== 'leader') {
    throw new UsageError(
      `the server on ${options.dataDir} does not lead: only the leader knows how far the logs reach`,
    );
  }
  return new Map(
    servers.map(({ id, matchIndex }) => [
      id,
      matchIndex === undefined
        ? {}
        : { lastIndex: matchIndex, lag: Math.max(0, lastIndex - matchIndex) },
    ]),
  );
}

async function probe(at: string): Promise<MemberDetails> {
  try {
    const { failureDomain, weight } = await describeServer(
      at,
      AbortSignal.timeout(PROBE_TIMEOUT_MS),
    );
    return { reachable: true, failureDomain, weight };
  } catch {
    return { reachable: false, failureDomain: undefined, weight: undefined };
  }
}

function membersJson(
  leader: string,
  members: readonly Member[],
  details: readonly MemberDetails[],
): string {
  const list = members.map((member, i) => ({
    id: member.id,
    address: member.address,
    role: member.role,
    leader: member.address === leader,
    reachable: details[i]?.reachable === true,
    failureDomain: details[i]?.failureDomain,
    weight: details[i]?.weight,
    lastIndex: details[i]?.lastIndex,
    lag: details[i]?.lag,
  }));
  return `${toJson(list)}\n`;
}
