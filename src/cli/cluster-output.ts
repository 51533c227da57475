import type { Member } from '../client/cluster.ts';
import { textTable } from './table.ts';

/** What `cluster list` knows of a member besides its row in the configuration. */
export interface MemberDetails {
  readonly reachable: boolean;
  readonly failureDomain: bigint | undefined;
  readonly weight: bigint | undefined;
}

/** The members as a table; the leader is marked. */
export function memberTable(
  leader: string,
  members: readonly Member[],
  details?: readonly MemberDetails[],
): string {
  const more = details === undefined ? [] : ['REACHABLE', 'DOMAIN', 'WEIGHT'];
  const rows = members.map((member, i) => {
    const isLeader = member.address === leader;
    const known = details?.[i];
    return [
      String(member.id),
      member.address,
      isLeader ? `${member.role} (leader)` : member.role,
      ...(known === undefined
        ? []
        : [known.reachable ? 'yes' : 'no', shown(known.failureDomain), shown(known.weight)]),
    ];
  });
  return textTable(['ID', 'ADDRESS', 'ROLE', ...more], rows);
}

function shown(value: bigint | undefined): string {
  return value === undefined ? '-' : String(value);
}
