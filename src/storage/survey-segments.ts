import { join } from 'node:path';
import type { Index, Term } from '../base/ids.ts';
import type { Entry } from '../raft/types.ts';
import type { Disk } from './disk.ts';
import { parseFileName } from './file-names.ts';
import { type Finding, type Repair, rejoin, rejoinOrCut } from './findings.ts';
import { isUnwritten, type SegmentEnd, type SegmentScan, scanSegment } from './segment-reader.ts';
import type { ClosedSegment } from './segments.ts';

/** One segment as it was found. */
export interface SegmentReport {
  readonly name: string;
  readonly kind: 'closed' | 'open';
  /** Indexes of the whole entries in it; undefined when there are none or they have no place in the log. */
  readonly entries: ClosedSegment | undefined;
  readonly batches: number;
  readonly usedBytes: number;
  readonly fileBytes: number;
  readonly end: SegmentEnd['kind'];
}

export interface SegmentSurvey {
  readonly segments: readonly SegmentReport[];
  /** The closed segments that make the log once the repairs are done, oldest first. */
  readonly closed: readonly ClosedSegment[];
  readonly next: Index;
  readonly lastTerm: Term | undefined;
  /** The highest term of any entry. */
  readonly highestTerm: Term;
  readonly entries: readonly Entry[];
  /** The newest entry of type change. */
  readonly lastChange: Entry | undefined;
  readonly findings: readonly Finding[];
  readonly repairs: readonly Repair[];
}

export interface SegmentSurveyOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly names: readonly string[];
  /** The snapshot that the log is to follow. */
  readonly snapshot: { readonly index: Index; readonly term: Term } | undefined;
  /** Entries before this one are checked but not returned; Infinity: none is. */
  readonly keepFrom: number;
}

/** Reads every segment and works out the log they make. Changes nothing. */
export async function surveySegments(options: SegmentSurveyOptions): Promise<SegmentSurvey> {
  const survey = new LogSurvey(options);
  await survey.run();
  return survey;
}

interface OpenSegment {
  readonly name: string;
  readonly counter: number;
}

class LogSurvey implements SegmentSurvey {
  readonly segments: SegmentReport[] = [];
  readonly findings: Finding[] = [];
  readonly repairs: Repair[] = [];
  closed: ClosedSegment[] = [];
  entries: Entry[] = [];
  next: Index;
  lastTerm: Term | undefined;
  highestTerm = 0 as Term;
  lastChange: Entry | undefined;
  readonly #options: SegmentSurveyOptions;
  readonly #snapshotIndex: Index;
  /** The term of the entry that the snapshot ends with, if the log has it. */
  #termAtSnapshot: Term | undefined;

  constructor(options: SegmentSurveyOptions) {
    this.#options = options;
    this.#snapshotIndex = options.snapshot?.index ?? (0 as Index);
    this.next = (this.#snapshotIndex + 1) as Index;
  }

  async run(): Promise<void> {
    const open = openSegments(this.#options.names);
    const run = this.#contiguousRun(closedSegments(this.#options.names));
    if ((await this.#readRun(run, open)) && (await this.#readOpen(open))) {
      this.#checkContradiction();
    }
    await this.#reportOthers();
  }

  /** False when the log cannot be read on. */
  async #readRun(run: readonly NamedSegment[], open: readonly OpenSegment[]): Promise<boolean> {
    const last = run.at(-1)?.last ?? this.#snapshotIndex;
    const first = run[0]?.first ?? this.next;
    if (last < this.#snapshotIndex) {
      const written = await this.#written(open);
      if (written.length > 0) return this.#refuseGap(last + 1, this.#snapshotIndex, written);
      for (const segment of run) this.#removeCovered(segment.name);
      return true;
    }
    if (first > this.next) return this.#refuseGap(this.next, first - 1, open);
    this.next = first;
    for (const segment of run) if (!(await this.#readClosed(segment, run, open))) return false;
    return true;
  }

  /** The closed segments that lead to the newest one without a gap; deals with the others. */
  #contiguousRun(all: readonly NamedSegment[]): NamedSegment[] {
    const rest = [...all].sort((a, b) => b.last - a.last || a.first - b.first);
    const run: NamedSegment[] = [];
    for (const segment of rest) {
      const following = run[0];
      if (following === undefined || segment.last === following.first - 1) run.unshift(segment);
      else if (segment.last >= following.first) this.#setOverlapAside(segment.name);
      else if (segment.last <= this.#snapshotIndex) this.#removeCovered(segment.name);
    }
    return run;
  }

  /** False when the rest of the log cannot be read. */
  async #readClosed(
    segment: NamedSegment,
    run: readonly NamedSegment[],
    open: readonly OpenSegment[],
  ): Promise<boolean> {
    const scan = await this.#scan(segment.name, 'closed', segment.first);
    const damage = closedDamage(scan, segment);
    const path = this.#path(segment.name);
    if (damage === undefined) {
      if (scan.end.kind === 'zeros') this.#cutZeros(path, scan, segment);
      this.closed.push({ first: segment.first, last: segment.last });
      this.next = (segment.last + 1) as Index;
      return true;
    }
    if (segment.last <= this.#snapshotIndex) {
      this.#warn(path, damage.offset, damage.what, 'The snapshot covers it: it is moved aside');
      this.repairs.push({ kind: 'moveAside', path });
      this.closed = [];
      this.entries = [];
      this.next = (segment.last + 1) as Index;
      return true;
    }
    const isLast = segment === run.at(-1);
    this.findings.push({
      severity: 'error',
      path,
      ...damage,
      nextStep: isLast ? rejoinOrCut : rejoin,
      ...(isLast && {
        remedy: [...this.#aside(await this.#written(open)), salvage(path, segment.first, scan)],
      }),
    });
    return false;
  }

  /** False when the log cannot be read on. */
  async #readOpen(open: readonly OpenSegment[]): Promise<boolean> {
    for (const [at, { name }] of open.entries()) {
      const path = this.#path(name);
      const first = this.next;
      const scan = await this.#scan(name, 'open', first);
      const segment = { first, last: (first + scan.entries - 1) as Index };
      if (scan.end.kind === 'damaged') {
        const later = await this.#written(open.slice(at + 1));
        if (scan.end.wholeBatchAt !== undefined || later.length > 0) {
          return this.#refuseOpen(path, scan, scan.end, first, later);
        }
        const torn = `${scan.end.what}: a write that was never acknowledged, or damage to the last one`;
        this.#warn(path, scan.end.offset, torn, 'The log ends before it');
      }
      if (scan.entries > 0) {
        this.repairs.push({ kind: 'close', path, usedBytes: scan.usedBytes, segment });
        this.closed.push(segment);
        this.next = (segment.last + 1) as Index;
      } else {
        this.repairs.push({ kind: scan.end.kind === 'damaged' ? 'moveAside' : 'remove', path });
      }
    }
    return true;
  }

  #refuseOpen(
    path: string,
    scan: SegmentScan,
    end: Extract<SegmentEnd, { kind: 'damaged' }>,
    first: Index,
    later: readonly OpenSegment[],
  ): false {
    const proof = later[0]
      ? `${later[0].name} was written after it`
      : `a whole batch is at byte ${end.wholeBatchAt}`;
    this.findings.push({
      severity: 'error',
      path,
      offset: end.offset,
      what: `${end.what}, and ${proof}: entries that were acknowledged are damaged`,
      nextStep: rejoinOrCut,
      remedy: [...this.#aside(later), salvage(path, first, scan)],
    });
    return false;
  }

  /** Moves segments aside, newest first: what an interruption leaves must not seem to follow the log. */
  #aside(segments: readonly { readonly name: string }[]): Repair[] {
    return segments
      .map(({ name }) => ({ kind: 'moveAside', path: this.#path(name) }) as const)
      .reverse();
  }

  /** All entries of its name are there: the zeros were left by whoever copied it. */
  #cutZeros(path: string, { usedBytes }: SegmentScan, { first, last }: NamedSegment): void {
    this.#warn(path, usedBytes, 'there are zeros behind the entries', 'They are cut off');
    this.repairs.push({ kind: 'close', path, usedBytes, segment: { first, last } });
  }

  #refuseGap(from: number, to: number, open: readonly OpenSegment[]): false {
    const opened = open[0] && `, before what ${open[0].name} holds`;
    this.findings.push({
      severity: 'error',
      path: this.#options.directory,
      offset: undefined,
      what: `entries ${from} to ${to} are in no segment and no snapshot${opened ?? ''}`,
      nextStep: rejoin,
    });
    return false;
  }

  /** What the log does not need, or could not be read up to: for the report alone. */
  async #reportOthers(): Promise<void> {
    const read = new Set(this.segments.map(({ name }) => name));
    for (const name of this.#options.names) {
      const parsed = parseFileName(name);
      if (read.has(name) || (parsed.kind !== 'closed' && parsed.kind !== 'open')) continue;
      const first = parsed.kind === 'closed' ? parsed.first : undefined;
      await this.#scan(name, parsed.kind, first, () => {});
    }
  }

  /** Those that hold more than zeros. */
  async #written(open: readonly OpenSegment[]): Promise<OpenSegment[]> {
    const written: OpenSegment[] = [];
    for (const segment of open) {
      const file = await this.#options.disk.openForReading(this.#path(segment.name));
      try {
        if (!(await isUnwritten(file))) written.push(segment);
      } finally {
        await file.close();
      }
    }
    return written;
  }

  /**
   * A snapshot that was installed replaces the whole log. A crash before the old log was removed leaves a log
   * that has another entry where the snapshot ends: it is not the log of this cluster any more.
   */
  #checkContradiction(): void {
    const { snapshot, directory } = this.#options;
    if (snapshot === undefined || this.#termAtSnapshot === undefined) return;
    if (this.#termAtSnapshot === snapshot.term) return;
    const what = `entry ${snapshot.index} has term ${this.#termAtSnapshot} in the log and ${snapshot.term} in the snapshot`;
    this.#warn(directory, undefined, what, 'The log is older than the snapshot: it is moved aside');
    const outdated = this.#aside(this.segments);
    const paths = new Set(outdated.map(({ path }) => path));
    const others = this.repairs.filter(({ path }) => !paths.has(path));
    this.repairs.splice(0, this.repairs.length, ...others, ...outdated);
    this.closed = [];
    this.entries = [];
    this.lastTerm = undefined;
    this.lastChange = undefined;
    this.next = (this.#snapshotIndex + 1) as Index;
  }

  /** `first` undefined: its entries have no known place in the log. */
  async #scan(
    name: string,
    kind: SegmentReport['kind'],
    first: Index | undefined,
    visit = (entry: Entry) => this.#note(entry),
  ): Promise<SegmentScan> {
    const file = await this.#options.disk.openForReading(this.#path(name));
    try {
      const scan = await scanSegment(file, first ?? (1 as Index), (batch) => {
        for (const entry of batch.entries) visit(entry);
      });
      const { batches, usedBytes, end } = scan;
      const known = first !== undefined && scan.entries > 0;
      const entries = known ? { first, last: (first + scan.entries - 1) as Index } : undefined;
      const report = { name, kind, entries, batches, usedBytes, end: end.kind };
      this.segments.push({ ...report, fileBytes: file.sizeBytes });
      return scan;
    } finally {
      await file.close();
    }
  }

  #note(entry: Entry): void {
    if (entry.index >= this.#options.keepFrom) this.entries.push(entry);
    if (entry.index === this.#snapshotIndex) this.#termAtSnapshot = entry.term;
    if (entry.type === 'change') this.lastChange = { ...entry, data: Buffer.from(entry.data) };
    this.lastTerm = entry.term;
    if (entry.term > this.highestTerm) this.highestTerm = entry.term;
  }

  #setOverlapAside(name: string): void {
    const path = this.#path(name);
    const what = 'its entries are in other segments too: left by an interrupted truncation';
    this.#warn(path, undefined, what, 'It is moved aside');
    this.repairs.push({ kind: 'moveAside', path });
  }

  #removeCovered(name: string): void {
    const path = this.#path(name);
    this.findings.push({
      severity: 'note',
      path,
      offset: undefined,
      what: 'covered by the snapshot, left by an interrupted removal',
      nextStep: 'The next start removes it',
    });
    this.repairs.push({ kind: 'remove', path });
  }

  #warn(path: string, offset: number | undefined, what: string, nextStep: string): void {
    this.findings.push({ severity: 'warning', path, offset, what, nextStep });
  }

  #path(name: string): string {
    return join(this.#options.directory, name);
  }
}

interface NamedSegment extends ClosedSegment {
  readonly name: string;
}

function closedSegments(names: readonly string[]): NamedSegment[] {
  return names.flatMap((name) => {
    const parsed = parseFileName(name);
    return parsed.kind === 'closed' ? [{ name, first: parsed.first, last: parsed.last }] : [];
  });
}

function openSegments(names: readonly string[]): OpenSegment[] {
  return names
    .flatMap((name) => {
      const parsed = parseFileName(name);
      return parsed.kind === 'open' ? [{ name, counter: parsed.counter }] : [];
    })
    .sort((a, b) => a.counter - b.counter);
}

function closedDamage(
  scan: SegmentScan,
  { first, last }: ClosedSegment,
): { offset: number; what: string } | undefined {
  const { end, entries, usedBytes } = scan;
  if (end.kind === 'damaged') return { offset: end.offset, what: end.what };
  const expected = last - first + 1;
  if (entries === expected) return undefined;
  return { offset: usedBytes, what: `holds ${entries} entries, its name says ${expected}` };
}

function salvage(path: string, first: Index, { entries, usedBytes }: SegmentScan): Repair {
  if (entries === 0) return { kind: 'moveAside', path };
  const segment = { first, last: (first + entries - 1) as Index };
  return { kind: 'salvage', path, usedBytes, segment };
}
