import type { Index, Term } from '../base/ids.ts';

/**
 * The names in a data directory:
 *
 *   metadata1, metadata2              term and vote
 *   0000000000000001-0000000000000042 closed segment with its first and last index
 *   open-1                            open segment; the number restarts at 1 with every process
 *   snapshot-<term>-<index>-<time>    snapshot; the same with .meta: what it covers
 *   tmp-*                             unfinished, of no value
 *   corrupt-<time>-<name>             moved aside, never read again
 *
 * Everything else belongs to others (dqlite-lock, info.yaml, cluster.yaml, join, ...) and is left alone.
 */
export type FileName =
  | { readonly kind: 'closed'; readonly first: Index; readonly last: Index }
  | { readonly kind: 'open'; readonly counter: number }
  | { readonly kind: 'snapshot'; readonly id: SnapshotId }
  | { readonly kind: 'snapshotMeta'; readonly id: SnapshotId }
  | { readonly kind: 'temporary' }
  | { readonly kind: 'aside' }
  | { readonly kind: 'metadata' }
  | { readonly kind: 'foreign' };

/** What the name of a snapshot says. `timestamp` only orders snapshots that are otherwise equal. */
export interface SnapshotId {
  readonly term: Term;
  readonly index: Index;
  readonly timestamp: number;
}

const closedPattern = /^(\d{16})-(\d{16})$/;
const openPattern = /^open-(\d+)$/;
const snapshotPattern = /^snapshot-(\d+)-(\d+)-(\d+)(\.meta)?$/;

/** What kind of file a name stands for. */
export function parseFileName(name: string): FileName {
  if (name === 'metadata1' || name === 'metadata2') return { kind: 'metadata' };
  if (name.startsWith('tmp-')) return { kind: 'temporary' };
  if (name.startsWith('corrupt-')) return { kind: 'aside' };
  return parseSegmentName(name) ?? parseSnapshotName(name) ?? { kind: 'foreign' };
}

/** The name of a closed segment. */
export function closedSegmentName(first: Index, last: Index): string {
  return `${String(first).padStart(16, '0')}-${String(last).padStart(16, '0')}`;
}

/** The name of an open segment. */
export function openSegmentName(counter: number): string {
  return `open-${counter}`;
}

/** The name of a snapshot's data; its description has `.meta` behind it. */
export function snapshotName(id: SnapshotId): string {
  return `snapshot-${id.term}-${id.index}-${id.timestamp}`;
}

function parseSegmentName(name: string): FileName | undefined {
  const closed = closedPattern.exec(name);
  if (closed) {
    const first = Number(closed[1]) as Index;
    const last = Number(closed[2]) as Index;
    return first >= 1 && last >= first && Number.isSafeInteger(last)
      ? { kind: 'closed', first, last }
      : { kind: 'foreign' };
  }
  const open = openPattern.exec(name);
  if (open) return { kind: 'open', counter: Number(open[1]) };
  return undefined;
}

function parseSnapshotName(name: string): FileName | undefined {
  const match = snapshotPattern.exec(name);
  if (!match) return undefined;
  const id = {
    term: Number(match[1]) as Term,
    index: Number(match[2]) as Index,
    timestamp: Number(match[3]),
  };
  return { kind: match[4] ? 'snapshotMeta' : 'snapshot', id };
}
