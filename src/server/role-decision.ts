import type { ServerId } from '../base/ids.ts';
import type { Role, Server } from '../protocol/log.ts';
import { majority } from '../raft/quorum.ts';

/** One member as the leader sees it when roles are decided. */
export interface MemberView extends Server {
  /** Whether the last question to it was answered. */
  readonly answers: boolean;
  /** Voters and standbys: whether it has acknowledged the log within the last election timeout. */
  readonly acknowledges: boolean;
  /** For so long neither of the two that it is taken for lost. */
  readonly lost: boolean;
  /** Where it stands; roles are spread over the domains. */
  readonly failureDomain: bigint;
  /** The lighter is preferred. */
  readonly weight: bigint;
}

/** How many servers are wanted in each role. */
export interface RoleTargets {
  readonly voters: number;
  readonly standbys: number;
}

/** One change of one role. */
export interface RoleChange {
  readonly member: MemberView;
  readonly role: Role;
  readonly because: string;
  /** Who is left to commit with: "3 of 4 voters answer, 3 are needed". */
  readonly quorum: string;
  /** False: it would stop the cluster, and must not be made. */
  readonly safe: boolean;
}

/** The members, the leader and the targets; all lists below are in the order of preference. */
interface Situation {
  readonly leader: ServerId;
  readonly members: readonly MemberView[];
  readonly voters: readonly MemberView[];
  /** Voters that are not lost. */
  readonly livingVoters: readonly MemberView[];
  /** Most voters that this many members should have. */
  readonly mostVoters: number;
  readonly standbys: number;
}

/**
 * The next change that brings the roles closer to the targets; undefined when there is nothing to do. Called again
 * after every change. The first rule that applies decides:
 *
 * 1. A lost voter becomes a spare when that lets the cluster survive more, or when it was replaced. With an odd
 *    number of voters it does not: 2 of 3 and 2 of 2 both need both, so that a restart never costs a role.
 * 2. Non-voters that answer become voters while voters are missing, if that makes an odd number of them.
 * 3. A failure domain without a voter gets one when another domain has several.
 * 4. Surplus voters become standbys or spares. Two members have one voter and one standby: of two voters each could
 *    stop the other.
 * 5. Standbys likewise: missing ones come from the spares, surplus ones become spares.
 */
export function nextRoleChange(
  members: readonly MemberView[],
  leader: ServerId,
  targets: RoleTargets,
): RoleChange | undefined {
  const voters = members.filter(({ role }) => role === 'voter');
  const situation: Situation = {
    leader,
    members,
    voters,
    livingVoters: voters.filter(({ lost }) => !lost),
    mostVoters: Math.min(targets.voters, oddUpTo(members.length)),
    standbys: targets.standbys,
  };
  const change =
    dropLostVoter(situation) ??
    addVoter(situation) ??
    spreadVoters(situation) ??
    dropSurplusVoter(situation) ??
    balanceStandbys(situation);
  return change && { ...change, ...afterwards(situation, change) };
}

type Wanted = Pick<RoleChange, 'member' | 'role' | 'because'>;

function dropLostVoter({ voters, livingVoters, mostVoters }: Situation): Wanted | undefined {
  const member = voters.find(({ lost }) => lost);
  if (member === undefined || livingVoters.length === 0) return undefined;
  const helps = voters.length % 2 === 0 || voters.length > mostVoters;
  return helps ? { member, role: 'spare', because: 'the voter is lost' } : undefined;
}

function addVoter(situation: Situation): Wanted | undefined {
  const { livingVoters, mostVoters } = situation;
  const candidates = replacements(situation);
  const possible = oddUpTo(Math.min(mostVoters, livingVoters.length + candidates.length));
  if (livingVoters.length >= possible) return undefined;
  const [member] = candidates;
  return member && { member, role: 'voter', because: 'voters are missing' };
}

function spreadVoters(situation: Situation): Wanted | undefined {
  const { livingVoters } = situation;
  const domains = new Set(livingVoters.map(({ failureDomain }) => failureDomain));
  if (domains.size === livingVoters.length) return undefined;
  const member = replacements(situation).find(({ failureDomain }) => !domains.has(failureDomain));
  if (livingVoters.length !== situation.mostVoters) return undefined;
  return member && { member, role: 'voter', because: 'its failure domain has no voter' };
}

function dropSurplusVoter(situation: Situation): Wanted | undefined {
  const { leader, livingVoters, mostVoters } = situation;
  if (livingVoters.length <= mostVoters) return undefined;
  const [member] = livingVoters
    .filter(({ id }) => id !== leader)
    .sort(
      (a, b) =>
        Number(a.answers) - Number(b.answers) ||
        inDomainOf(livingVoters, b) - inDomainOf(livingVoters, a) ||
        compare(b.weight, a.weight),
    );
  if (member === undefined) return undefined;
  const standbys = living(situation, 'standby').length;
  const role = standbys < situation.standbys ? 'standby' : 'spare';
  return { member, role, because: 'there are more voters than wanted' };
}

function balanceStandbys(situation: Situation): Wanted | undefined {
  const { members } = situation;
  const all = members.filter(({ role }) => role === 'standby');
  const alive = living(situation, 'standby');
  if (alive.length < situation.standbys) {
    const [member] = preferred(living(situation, 'spare').filter(isAnswering), alive);
    return member && { member, role: 'standby', because: 'standbys are missing' };
  }
  if (all.length <= situation.standbys) return undefined;
  const [member] = [...all].sort(
    (a, b) =>
      Number(b.lost) - Number(a.lost) ||
      Number(a.answers) - Number(b.answers) ||
      inDomainOf(alive, b) - inDomainOf(alive, a) ||
      compare(b.weight, a.weight),
  );
  return member && { member, role: 'spare', because: 'there are more standbys than wanted' };
}

/** Who could become a voter, best first: missing failure domains, then lighter ones, then standbys. */
function replacements(situation: Situation): MemberView[] {
  const others = situation.members.filter((member) => member.role !== 'voter' && !member.lost);
  return preferred(others.filter(isAnswering), situation.livingVoters);
}

function preferred(
  candidates: readonly MemberView[],
  holders: readonly MemberView[],
): MemberView[] {
  return [...candidates].sort(
    (a, b) =>
      Math.min(1, inDomainOf(holders, a)) - Math.min(1, inDomainOf(holders, b)) ||
      compare(a.weight, b.weight) ||
      Number(b.role === 'standby') - Number(a.role === 'standby'),
  );
}

/** A change commits with a majority of the voters that it makes. */
function afterwards(
  { leader, voters }: Situation,
  { member, role }: Wanted,
): Pick<RoleChange, 'quorum' | 'safe'> {
  const kept = voters.filter(({ id }) => id !== member.id);
  const added = role === 'voter' ? 1 : 0;
  const total = kept.length + added;
  const alive = kept.filter(({ id, acknowledges }) => id === leader || acknowledges).length + added;
  const needed = majority(total);
  const quorum = `afterwards ${alive} of ${total} voters answer, ${needed} are needed`;
  return { quorum, safe: alive >= needed && total > 0 };
}

function living({ members }: Situation, wanted: Role): MemberView[] {
  return members.filter(({ role, lost }) => role === wanted && !lost);
}

function isAnswering({ answers }: MemberView): boolean {
  return answers;
}

function inDomainOf(holders: readonly MemberView[], { failureDomain }: MemberView): number {
  return holders.filter((holder) => holder.failureDomain === failureDomain).length;
}

function oddUpTo(count: number): number {
  return count % 2 === 0 ? Math.max(1, count - 1) : count;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
