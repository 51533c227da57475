import type { ClosedSegment } from './segments.ts';

/**
 * Something about a data directory that an operator may want to know.
 *
 * note: a normal trace of a stop or crash. warning: damage that costs nothing, or that may be a torn write.
 * error: the server does not start on it.
 */
export interface Finding {
  readonly severity: 'note' | 'warning' | 'error';
  readonly path: string;
  readonly offset: number | undefined;
  readonly what: string;
  /** For notes and warnings what the next start does about it, for errors what the operator can do. */
  readonly nextStep: string;
  /** What `autoRecovery` does about an error. Absent: nothing. */
  readonly remedy?: readonly Repair[];
}

/** A change to the directory. Each can be interrupted: the next survey finds what is left to do. */
export type Repair =
  /** Of what holds nothing that counts: temporary and empty files, what a snapshot covers. */
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'moveAside'; readonly path: string }
  /** Cuts a segment behind its last whole batch and names it after what it holds. */
  | {
      readonly kind: 'close';
      readonly path: string;
      readonly usedBytes: number;
      readonly segment: ClosedSegment;
    }
  /** Keeps a copy of a damaged segment aside, then does the same to the segment. */
  | {
      readonly kind: 'salvage';
      readonly path: string;
      readonly usedBytes: number;
      readonly segment: ClosedSegment;
    };

/** For damage that only a copy, or the other servers, can make good. */
export const rejoin =
  'Restore the file from a copy; or remove this server from the cluster, empty the directory and let it join again';

/** The same where cutting the log is possible, at a price. */
export const rejoinOrCut = `${rejoin}. With --auto-recovery the log is cut here, which may lose acknowledged writes`;
