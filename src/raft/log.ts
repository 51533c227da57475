import { assert } from '../base/assert.ts';
import { decodeConfiguration } from '../protocol/configuration.ts';
import type { Configuration, Entry, Index, SnapshotMeta, Term } from './types.ts';

/** A configuration and the entry that holds it; index 0: none yet. */
export interface ConfigurationAt {
  readonly index: Index;
  readonly configuration: Configuration;
}

const zero = 0 as Index;
const nothing: ConfigurationAt = { index: zero, configuration: { servers: [] } };

/**
 * The log as it is in memory: entries behind the newest snapshot, some before it, and how much of that is
 * durable. Knows which configuration is in force: the newest in the log, committed or not (Raft paper,
 * section 6: "a server always uses the latest configuration in its log").
 */
export class Log {
  #entries: Entry[] = [];
  /** Index of the first entry in memory, or of the entry to come. */
  #firstIndex = 1;
  #snapshot: SnapshotMeta | undefined;
  #configurations: ConfigurationAt[] = [nothing];
  #durableIndex = zero;
  readonly #writes: { write: number; lastIndex: Index }[] = [];
  #bytesBehindSnapshot = 0;

  /**
   * `entries` have no gaps, and none between them and the snapshot: the store's duty. Entries that end before
   * the snapshot does are left over from before it was installed.
   */
  constructor(snapshot: SnapshotMeta | undefined, entries: readonly Entry[]) {
    if (snapshot !== undefined) this.resetTo(snapshot);
    const [first] = entries;
    const last = entries.at(-1);
    if (first !== undefined && last !== undefined && last.index >= this.snapshotIndex) {
      assert(first.index <= this.#firstIndex, 'no gap between snapshot and log');
      this.#firstIndex = first.index;
      for (const entry of entries) this.append(entry);
    }
    this.#durableIndex = this.lastIndex;
  }

  get firstIndex(): Index {
    return this.#firstIndex as Index;
  }

  get lastIndex(): Index {
    return (this.#firstIndex + this.#entries.length - 1) as Index;
  }

  get lastTerm(): Term {
    return this.termAt(this.lastIndex) ?? (0 as Term);
  }

  /** The newest snapshot on our own disk, or on its way there. */
  get snapshot(): SnapshotMeta | undefined {
    return this.#snapshot;
  }

  get snapshotIndex(): Index {
    return this.#snapshot?.index ?? zero;
  }

  /** Data bytes of the entries behind the newest snapshot. */
  get bytesBehindSnapshot(): number {
    return this.#bytesBehindSnapshot;
  }

  /** Everything up to here is on disk. */
  get durableIndex(): Index {
    return this.#durableIndex;
  }

  /** The configuration in force. */
  get configuration(): ConfigurationAt {
    return this.#configurations.at(-1) ?? nothing;
  }

  /** The newest configuration at or before `index`. */
  configurationAt(index: Index): ConfigurationAt {
    return this.#configurations.findLast((at) => at.index <= index) ?? nothing;
  }

  /** The term of an entry, as far back as it is known; 0 at index 0. */
  termAt(index: Index): Term | undefined {
    const entry = this.#entries[index - this.#firstIndex];
    if (entry !== undefined) return entry.term;
    if (index === 0) return 0 as Term;
    return index === this.#snapshot?.index ? this.#snapshot.term : undefined;
  }

  entry(index: Index): Entry {
    const entry = this.#entries[index - this.#firstIndex];
    assert(entry !== undefined, 'the entry is in memory');
    return entry;
  }

  /** Entries from `from` on, at most so many and so many bytes, but at least one where there is one. */
  slice(from: Index, maxEntries: number, maxBytes: number): Entry[] {
    const start = from - this.#firstIndex;
    assert(start >= 0, 'the entries are in memory');
    const stop = Math.min(this.#entries.length, start + maxEntries);
    let bytes = 0;
    let end = start;
    while (end < stop) {
      bytes += this.#entries[end]?.data.length ?? 0;
      if (bytes > maxBytes && end > start) break;
      end++;
    }
    return this.#entries.slice(start, end);
  }

  /**
   * The newest index before `index` whose term is not above `term`: where a leader of that term could agree
   * with us. A hint only; always less than `index`.
   */
  agreeableIndex(index: Index, term: Term): Index {
    let at = Math.min(index - 1, this.lastIndex);
    while (at > 0 && (this.termAt(at as Index) ?? 0) > term) at--;
    return at as Index;
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'the log has no gaps');
    this.#entries.push(entry);
    if (entry.index > this.snapshotIndex) this.#bytesBehindSnapshot += entry.data.length;
    if (entry.type !== 'change' || entry.index <= this.configuration.index) return;
    const configuration = decodeConfiguration(entry.data);
    this.#configurations.push({ index: entry.index, configuration });
  }

  /** Removes the entry and all behind it: the configurations in them are void. */
  truncateFrom(index: Index): void {
    assert(
      index >= this.#firstIndex && index > this.snapshotIndex,
      'entries stay below a snapshot',
    );
    for (const { data } of this.#entries.splice(index - this.#firstIndex)) {
      this.#bytesBehindSnapshot -= data.length;
    }
    const last = this.lastIndex;
    this.#configurations = this.#configurations.filter((at) => at.index <= last);
    this.#durableIndex = Math.min(this.#durableIndex, last) as Index;
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, last) as Index;
  }

  /** A snapshot of the leader takes the place of everything. */
  resetTo(meta: SnapshotMeta): void {
    this.#entries = [];
    this.#bytesBehindSnapshot = 0;
    this.#firstIndex = meta.index + 1;
    this.#snapshot = meta;
    const { configurationIndex: index, configuration } = meta;
    this.#configurations = [nothing, { index, configuration }];
    this.#durableIndex = zero;
    for (const write of this.#writes) write.lastIndex = zero;
  }

  /** Our own snapshot is on disk: of what it covers only so many entries and bytes stay in memory. */
  compact(meta: SnapshotMeta, trailing: number, trailingBytes: number): void {
    const covered = Math.max(0, meta.index + 1 - this.#firstIndex);
    let bytes = 0;
    let keep = 0;
    for (; keep < Math.min(trailing, covered); keep++) {
      bytes += this.#entries[covered - 1 - keep]?.data.length ?? 0;
      if (bytes > trailingBytes) break;
    }
    this.#snapshot = meta;
    this.#entries = this.#entries.slice(covered - keep);
    this.#firstIndex += covered - keep;
    this.#bytesBehindSnapshot = 0;
    for (const { data } of this.#entries.slice(keep)) this.#bytesBehindSnapshot += data.length;
    const { configurationIndex: index, configuration } = meta;
    const newer = this.#configurations.filter((at) => at.index > index);
    this.#configurations = [nothing, { index, configuration }, ...newer];
  }

  /** A write was handed to the disk that makes everything up to the present end durable. */
  writing(write: number): void {
    this.#writes.push({ write, lastIndex: this.lastIndex });
  }

  /** Writes are durable in order: this one, and with it all before. */
  written(write: number): void {
    while (this.#writes[0] !== undefined && this.#writes[0].write <= write) {
      this.#durableIndex = Math.max(this.#durableIndex, this.#writes[0].lastIndex) as Index;
      this.#writes.shift();
    }
  }
}
