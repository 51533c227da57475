/** One place of a source file that is changed. */
export interface Patch {
  /** Must be in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** A mistake that somebody could make, and that the simulator must find. */
export interface PlantedBug {
  /** Relative to the root of the repository. */
  readonly file: string;
  readonly patches: readonly Patch[];
  /** What goes wrong, and why it matters. */
  readonly why: string;
  /** Only every so many-th seed runs the part in question; 1 otherwise. */
  readonly step?: number;
  /** Found within so many seeds: few enough to be looked for in every test run. */
  readonly within?: number;
}
