/** What one client does over and over (bench/load/workloads.go). */
export const workloads = ['read', 'range', 'mix', 'update', 'insert', 'transaction'] as const;
export type Workload = (typeof workloads)[number];

/** What a workload is called in tables. */
export const titles: Readonly<Record<Workload, string>> = {
  read: 'point read',
  range: 'range of 1000 rows',
  mix: '90/10 mix',
  update: 'update',
  insert: 'insert',
  transaction: 'ten-row transaction',
};

export const connectionCounts = [1, 16, 64, 256] as const;

/** One workload at one number of connections. */
export interface Cell {
  readonly workload: Workload;
  readonly connections: number;
}

/** What the ratio to the faster C version is meant to be, at least, and whether errors are allowed. */
export interface Target {
  readonly ratio: number;
  readonly noErrors: boolean;
}

const clean = (ratio: number): Target => ({ ratio, noErrors: true });
const atLeast = (ratio: number): Target => ({ ratio, noErrors: false });

const targets: Readonly<Record<string, Target>> = {
  'insert@1': atLeast(2),
  'insert@64': clean(15),
  'update@16': clean(15),
  'transaction@1': clean(1.5),
  'transaction@64': clean(10),
  'read@1': atLeast(0.8),
  'read@64': atLeast(1),
  'range@1': atLeast(30),
  'range@64': atLeast(1),
  'mix@64': clean(1),
};

/** Targets with this many milliseconds added to each sync. */
const slowDiskTargets: Readonly<Record<number, Readonly<Record<string, Target>>>> = {
  1: { 'insert@64': clean(25) },
};

/** The surroundings that a run was made in. */
export interface Conditions {
  readonly syncDelayMs: number;
  readonly networkDelayMs: number;
}

/** The goal for a cell; undefined when there is none for it under these conditions. */
export function targetOf(cell: Cell, conditions: Conditions): Target | undefined {
  if (conditions.networkDelayMs > 0) return undefined;
  const table = conditions.syncDelayMs > 0 ? slowDiskTargets[conditions.syncDelayMs] : targets;
  return table?.[nameOf(cell)];
}

/** `insert@64` */
export function nameOf(cell: Cell): string {
  return `${cell.workload}@${cell.connections}`;
}
