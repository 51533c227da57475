import { assert } from '../base/assert.ts';
import { WireError } from '../base/errors.ts';
import type { ServerId } from '../base/ids.ts';
import type { Configuration, Server } from './log.ts';
import { raftRoleNumber, roleOfRaft } from './roles.ts';
import { padded } from './words.ts';

/**
 * The only layout that is not made of words (docs/wire-protocol.md, "Configurations"): one byte version 1, uint64
 * number of servers, then for each the uint64 id, the address with a closing zero and no padding, one byte role;
 * at the end padding to whole words, of any content on input and zero on output.
 */
const version = 1;
const headBytes = 9;
const idBytes = 8;
/** The zero behind the address and the role. */
const trailerBytes = 2;

/** The bytes of a configuration, a whole number of words. Must have at least one server. */
export function encodeConfiguration({ servers }: Configuration): Buffer {
  assert(servers.length > 0, 'a configuration names at least one server');
  const addresses = servers.map(({ address }) => Buffer.from(address, 'utf8'));
  let size = headBytes;
  for (const address of addresses) size += idBytes + address.length + trailerBytes;
  const bytes = Buffer.alloc(padded(size));
  bytes[0] = version;
  bytes.writeBigUInt64LE(BigInt(servers.length), 1);
  let at = headBytes;
  for (const [i, { id, role }] of servers.entries()) {
    at = bytes.writeBigUInt64LE(id, at);
    const address = addresses[i];
    if (address !== undefined) at += address.copy(bytes, at);
    bytes[at + 1] = raftRoleNumber(role);
    at += trailerBytes;
  }
  return bytes;
}

/** @throws WireError unless the bytes are a configuration with at least one server and no id or address twice */
export function decodeConfiguration(data: Uint8Array): Configuration {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  if (bytes.length < headBytes) throw new WireError('configuration is cut off');
  if (bytes[0] !== version) throw new WireError(`configuration of version ${bytes[0]}`);
  const count = bytes.readBigUInt64LE(1);
  if (count === 0n) throw new WireError('configuration without servers');
  const servers: Server[] = [];
  const ids = new Set<bigint>();
  const addresses = new Set<string>();
  let at = headBytes;
  for (let i = 0n; i < count; i++) {
    const { server, end } = readServer(bytes, at);
    if (ids.has(server.id)) throw new WireError(`server id ${server.id} twice`);
    if (addresses.has(server.address)) throw new WireError('server address twice');
    ids.add(server.id);
    addresses.add(server.address);
    servers.push(server);
    at = end;
  }
  return { servers };
}

function readServer(bytes: Buffer, at: number): { server: Server; end: number } {
  if (bytes.length - at < idBytes + trailerBytes) throw new WireError('configuration is cut off');
  const id = bytes.readBigUInt64LE(at);
  if (id === 0n) throw new WireError('server id 0');
  const addressAt = at + idBytes;
  const addressEnd = bytes.indexOf(0, addressAt);
  const roleNumber = addressEnd < 0 ? undefined : bytes[addressEnd + 1];
  if (roleNumber === undefined) throw new WireError('configuration is cut off');
  const role = roleOfRaft(roleNumber);
  if (role === undefined) throw new WireError(`server role ${roleNumber}`);
  const address = bytes.toString('utf8', addressAt, addressEnd);
  return { server: { id: id as ServerId, address, role }, end: addressEnd + trailerBytes };
}
