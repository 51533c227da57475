import type { PlantedBug } from './planted-bug.ts';

/** Mistakes between the thread of Raft and the main thread. */
export const threadBugs: Readonly<Record<string, PlantedBug>> = {
  'the lease of a later leadership counts': {
    file: 'src/server/raft-lease.ts',
    patches: [{ find: 'this.#term[0] === term && this', replace: 'term !== undefined && this' }],
    why: 'a main thread that has not heard of the leaders in between answers from before them',
  },
};
