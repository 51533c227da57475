import type { Core, Leader } from './core.ts';
import type { Progress } from './progress.ts';

/** How many of `voters` servers are a majority (Raft paper, section 5.2). */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The largest value that a majority has reached, one value for each voter: the commit index of match indexes,
 * the lease start of contact instants. -Infinity without voters, so that nobody's word is nobody's majority.
 */
export function reachedByMajority(values: readonly number[]): number {
  const needed = majority(values.length);
  let largest = Number.NEGATIVE_INFINITY;
  // There are a few servers, and this is asked with every answer of one: comparing all pairs takes no memory.
  for (const value of values) {
    let reached = 0;
    for (const other of values) if (other >= value) reached++;
    if (reached >= needed && value > largest) largest = value;
  }
  return largest;
}

/**
 * What a majority of the voters has reached: `own` counts for this server while it is a voter, `missing` for one that
 * the leader knows nothing of yet.
 */
export function reachedByVoters(
  core: Core,
  leader: Leader,
  reachedBy: (progress: Progress) => number,
  { own, missing }: { readonly own: number; readonly missing: number },
): number {
  // With each answer of a follower, hence a loop: an array of `map` changes its kind with its first fraction, slowly.
  const values: number[] = [];
  for (const { id, role } of core.log.configuration.configuration.servers) {
    if (role !== 'voter') continue;
    const progress = leader.progress.get(id);
    if (id === core.options.id) values.push(own);
    else values.push(progress === undefined ? missing : reachedBy(progress));
  }
  return reachedByMajority(values);
}
