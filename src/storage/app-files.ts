import { readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { UsageError } from '../base/errors.ts';
import type { ServerId } from '../base/ids.ts';
import type { Role, Server } from '../protocol/log.ts';

/**
 * Who a node is and whom it knows, in the files that go-dqlite's app package keeps beside the log:
 *
 *   info.yaml      { ID, Address, Role } of this node; Role is always 0
 *   cluster.yaml   a list of the same for the members last heard of; ID is 0 until the first refresh
 *   join           empty; there from the first start of a joining node until the cluster has added it
 *
 * info.yaml and cluster.yaml are there both or not at all. C's dqlite_server keeps "v1", address and id as the
 * lines of server-info instead: read, never written.
 */
export interface Identity {
  readonly id: ServerId;
  readonly address: string;
}

const infoName = 'info.yaml';
const clusterName = 'cluster.yaml';
const joinName = 'join';
const serverInfoName = 'server-info';

/** Numbers of the roles here and on the client wire; not those of the log. */
const roles: readonly Role[] = ['voter', 'standby', 'spare'];

/** @throws UsageError when a file is there but cannot be understood */
export async function readIdentity(directory: string): Promise<Identity | undefined> {
  const path = join(directory, infoName);
  const info = await readOptional(path);
  if (info !== undefined) {
    const { id, address } = memberOf(path, parseYaml(path, info));
    return { id, address };
  }
  const lines = (await readOptional(join(directory, serverInfoName)))?.split('\n');
  if (lines === undefined) return undefined;
  const [version, address, id] = lines;
  if (version !== 'v1' || !address || !/^\d+$/.test(id ?? '')) {
    throw misread(join(directory, serverInfoName));
  }
  return { address, id: BigInt(id ?? 0) as ServerId };
}

/** The members last heard of; undefined without such a file. @throws UsageError as above */
export async function readCluster(directory: string): Promise<readonly Server[] | undefined> {
  const text = await readOptional(join(directory, clusterName));
  if (text === undefined) return undefined;
  const path = join(directory, clusterName);
  const list: unknown = parseYaml(path, text) ?? [];
  if (!Array.isArray(list)) throw misread(path);
  return list.map((item) => memberOf(path, item));
}

/** Writes info.yaml, and cluster.yaml unless it is there: neither without the other. */
export async function writeIdentity(directory: string, identity: Identity): Promise<void> {
  const self: Server = { ...identity, role: 'voter' };
  if ((await readOptional(join(directory, clusterName))) === undefined) {
    await writeCluster(directory, [self]);
  }
  await replace(join(directory, infoName), stringify(itemOf(self)));
}

/** Replaces cluster.yaml. */
export async function writeCluster(directory: string, servers: readonly Server[]): Promise<void> {
  await replace(join(directory, clusterName), stringify(servers.map(itemOf)));
}

/** Whether this node was told to join a cluster and has not been added yet. */
export async function isJoining(directory: string): Promise<boolean> {
  return stat(join(directory, joinName)).then(
    () => true,
    () => false,
  );
}

/** Sets or clears that mark. */
export async function markJoining(directory: string, joining: boolean): Promise<void> {
  const path = join(directory, joinName);
  if (joining) await writeFile(path, '', { mode: 0o600 });
  else await unlink(path).catch(ignoreMissing);
}

function itemOf({ id, address, role }: Server): Record<string, unknown> {
  return { ID: id, Address: address, Role: roles.indexOf(role) };
}

function memberOf(path: string, value: unknown): Server {
  const { ID, Address, Role } = (value ?? {}) as Record<string, unknown>;
  const role = roles[Number(Role ?? 0)];
  if (typeof ID !== 'bigint' || typeof Address !== 'string' || role === undefined) {
    throw misread(path);
  }
  return { id: ID as ServerId, address: Address, role };
}

function parseYaml(path: string, text: string): unknown {
  try {
    return parse(text, { intAsBigInt: true });
  } catch {
    throw misread(path);
  }
}

function misread(path: string): UsageError {
  return new UsageError(
    `${path} cannot be understood: correct it, or remove it and give --id and --address`,
  );
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    ignoreMissing(error);
    return undefined;
  }
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

/** In one step, so that a crash leaves the old file or the new one. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text, { mode: 0o600, flush: true });
  await rename(`${path}.tmp`, path);
}
