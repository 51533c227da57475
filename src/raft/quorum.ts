/** How many of `voters` servers are a majority (Raft paper, section 5.2). */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The largest value that a majority has reached, one value for each voter: the commit index of match indexes,
 * the lease start of contact instants. -Infinity without voters, so that nobody's word is nobody's majority.
 */
export function reachedByMajority(values: readonly number[]): number {
  if (values.length === 0) return Number.NEGATIVE_INFINITY;
  const descending = [...values].sort((a, b) => b - a);
  return descending[majority(values.length) - 1] ?? Number.NEGATIVE_INFINITY;
}
