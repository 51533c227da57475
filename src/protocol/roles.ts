import { WireError } from '../base/errors.ts';
import type { Kind } from './kinds.ts';
import type { Role } from './log.ts';

/**
 * The numbers of the roles: clients count from the most to the least important, Raft's messages and files
 * have an order of their own. Nothing else in the code knows either number.
 */
const roleNumbers: { readonly [role in Role]: { readonly client: number; readonly raft: number } } =
  {
    voter: { client: 0, raft: 1 },
    standby: { client: 1, raft: 0 },
    spare: { client: 2, raft: 2 },
  };

const roles = Object.keys(roleNumbers) as Role[];

/** The role that a client means, or undefined when there is none with this number. */
export function roleOfClient(value: bigint): Role | undefined {
  return roles.find((role) => BigInt(roleNumbers[role].client) === value);
}

/** The number that clients use for a role. */
export function clientRoleNumber(role: Role): number {
  return roleNumbers[role].client;
}

/** The role that another server or a file means, or undefined when there is none with this number. */
export function roleOfRaft(value: number): Role | undefined {
  return roles.find((role) => roleNumbers[role].raft === value);
}

/** The number that servers and files use for a role. */
export function raftRoleNumber(role: Role): number {
  return roleNumbers[role].raft;
}

/** A role in a response to a client. */
export const clientRole: Kind<Role> = {
  name: 'uint64',
  write(to, value) {
    const at = to.take(8);
    to.bytes.writeBigUInt64LE(BigInt(clientRoleNumber(value)), at);
  },
  read(from) {
    const value = from.bytes.readBigUInt64LE(from.take(8));
    const role = roleOfClient(value);
    if (role === undefined) throw new WireError(`no role has the number ${value}`);
    return role;
  },
  sample: (random) => roles[random.int(0, roles.length - 1)] ?? 'voter',
};

/** Markdown table for docs/wire-protocol.md. */
export function describeRoles(): string {
  const lines = roles.map((role) => {
    const { client, raft } = roleNumbers[role];
    return `| ${role} | ${client} | ${raft} |`;
  });
  return ['| role | for clients | between servers |', '|---|---|---|', ...lines].join('\n');
}
