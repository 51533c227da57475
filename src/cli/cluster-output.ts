import type { Member } from '../client/cluster.ts';
import { textTable } from './table.ts';

/** What `cluster list` knows of a member besides its row in the configuration. */
export interface MemberDetails {
  readonly reachable: boolean;
  readonly failureDomain: bigint | undefined;
  readonly weight: bigint | undefined;
  /** Newest entry on its disk; only the leader knows it, and tells on its own machine. */
  readonly lastIndex?: number | undefined;
  /** Entries that it has yet to write. */
  readonly lag?: number | undefined;
}

/** The members as a table; the leader is marked. */
export function memberTable(
  leader: string,
  members: readonly Member[],
  details?: readonly MemberDetails[],
): string {
  const withLog = details?.some(({ lastIndex }) => lastIndex !== undefined) === true;
  const more = [
    ...(details === undefined ? [] : ['REACHABLE', 'DOMAIN', 'WEIGHT']),
    ...(withLog ? ['LAST INDEX', 'LAG'] : []),
  ];
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
      ...(withLog ? [shown(known?.lastIndex), shown(known?.lag)] : []),
    ];
  });
  return textTable(['ID', 'ADDRESS', 'ROLE', ...more], rows);
}

function shown(value: bigint | number | undefined): string {
  return value === undefined ? '-' : String(value);
}
