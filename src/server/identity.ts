import type { ServerId } from '../base/ids.ts';
import type { Server } from '../protocol/log.ts';
import type { Identity } from '../storage/app-files.ts';
import { bootstrap, generatedServerId, isFresh } from '../storage/bootstrap.ts';
import type { DataDirectory } from '../storage/directory.ts';
import type { Disk } from '../storage/disk.ts';
import { inspectDirectory } from '../storage/inspect.ts';
import type { Config } from './config.ts';
import { StartFailure } from './start-failure.ts';

/** The first server of a cluster, when nobody says otherwise; C nodes with this id bootstrap too. */
const FIRST_ID = 1n as ServerId;
const NANOSECONDS = 1_000_000n;

/**
 * Who this server is: what the directory remembers, else what the configuration says, which the directory then
 * remembers. A fresh directory becomes a new cluster of this server, or waits to be added to another.
 *
 * @throws StartFailure when configuration and directory contradict each other
 */
export async function establishIdentity(
  config: Config,
  directory: DataDirectory,
  disk: Disk,
): Promise<Identity> {
  const fresh = await isFresh(disk, directory.path);
  const startsCluster = config.bootstrap && config.join === undefined;
  const remembered = await directory.identity();
  if (remembered !== undefined) {
    refuseContradiction(config, directory, remembered);
    // Not joining, and no log: the start of a cluster was interrupted.
    if (fresh && startsCluster && !(await directory.joining())) {
      await startCluster(disk, directory, remembered);
    }
    return remembered;
  }
  if (!fresh) {
    const member = await memberInLog(config, directory, disk);
    await directory.writeIdentity(member);
    return member;
  }
  const identity = { id: config.id as ServerId | undefined, address: config.address };
  if (startsCluster) {
    const first = { ...identity, id: identity.id ?? FIRST_ID };
    await directory.writeIdentity(first);
    await startCluster(disk, directory, first);
    return first;
  }
  // Marked first: a server that is to be added must never start a cluster of its own.
  await directory.markJoining(true);
  const nanoseconds = BigInt(Date.now()) * NANOSECONDS;
  const added = { ...identity, id: identity.id ?? generatedServerId(config.address, nanoseconds) };
  await directory.writeIdentity(added);
  return added;
}

function startCluster(disk: Disk, directory: DataDirectory, identity: Identity): Promise<void> {
  return bootstrap(disk, directory.path, { servers: [{ ...identity, role: 'voter' }] });
}

function refuseContradiction(config: Config, directory: DataDirectory, remembered: Identity): void {
  const { id, address } = remembered;
  const owner = `${directory.path} belongs to server ${id} at ${address}`;
  if (config.id !== undefined && config.id !== id) {
    throw new StartFailure(`${owner}: leave out --id, or choose another --data-dir`);
  }
  if (config.origins.address !== 'default' && config.address !== address) {
    throw new StartFailure(
      `${owner}, a name that the cluster knows: start it with --address ${address} (and --listen, if it is to listen elsewhere), or choose another --data-dir`,
    );
  }
}

/** A directory of C dqlite without the files of go-dqlite: this server is one of the members in its log. */
async function memberInLog(
  config: Config,
  directory: DataDirectory,
  disk: Disk,
): Promise<Identity> {
  const { configuration } = await inspectDirectory(disk, directory.path);
  const members = configuration?.value.servers ?? [];
  const found = members.filter((member) => isMeant(member, config, members.length === 1));
  const [member] = found;
  if (member !== undefined && found.length === 1) return { id: member.id, address: member.address };
  if (config.id !== undefined) return { id: config.id as ServerId, address: config.address };
  const known = members.map(({ id, address }) => `${id} at ${address}`).join(', ') || 'nobody';
  throw new StartFailure(
    `${directory.path} does not say which member it belongs to (${known}): give its --id and --address`,
  );
}

function isMeant(member: Server, config: Config, isOnly: boolean): boolean {
  const idFits = config.id === undefined || config.id === member.id;
  const addressFits =
    config.address === member.address || (isOnly && config.origins.address === 'default');
  return idFits && addressFits;
}
