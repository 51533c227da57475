import type { PlantedBug } from './planted-bug.ts';
import { raftBugs } from './planted-raft-bugs.ts';
import { sqlBugs } from './planted-sql-bugs.ts';
import { storageBugs } from './planted-storage-bugs.ts';
import { threadBugs } from './planted-thread-bugs.ts';

/** By name. Each is planted alone; planted-bugs.test.ts counts the seeds until it is found. */
export const plantedBugs: Readonly<Record<string, PlantedBug>> = {
  ...storageBugs,
  ...raftBugs,
  ...sqlBugs,
  ...threadBugs,
};
