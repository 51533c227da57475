import { decodeConfiguration } from '../../src/protocol/configuration.ts';
import { describeConfiguration } from '../../src/raft/describe.ts';
import type { Configuration, Entry } from '../../src/raft/types.ts';
import { type Chain, emptyChain, extendChain } from './chain.ts';

/** One entry of a mirror: the chain stands for all bytes up to it. */
export interface MirrorEntry {
  readonly index: number;
  readonly term: number;
  readonly chain: Chain;
  /** The members that it puts in force, in words; undefined: it changes nothing about them. */
  readonly members?: string | undefined;
}

/** Comparable words for a configuration. */
export function membersOf(configuration: Configuration): string {
  return describeConfiguration(configuration);
}

/** What a log holds, as hashes: of what Raft has in memory, or of what its disk promised to keep. */
export class LogMirror {
  #entries: MirrorEntry[] = [];
  /** What the first entry follows. */
  #base: MirrorEntry = { index: 0, term: 0, chain: emptyChain };
  /** The entries with configurations, oldest first. */
  #changes: MirrorEntry[] = [];

  get lastIndex(): number {
    return this.#base.index + this.#entries.length;
  }

  /** Index before the first entry: what is at or before it is known from a snapshot only. */
  get baseIndex(): number {
    return this.#base.index;
  }

  at(index: number): MirrorEntry | undefined {
    return index === this.#base.index ? this.#base : this.#entries[index - this.#base.index - 1];
  }

  /** The entry that would follow the last one, from its bytes. */
  following(entry: Entry): MirrorEntry {
    const before = this.at(this.lastIndex) ?? this.#base;
    const { index, term } = entry;
    const chain = extendChain(before.chain, entry);
    if (entry.type !== 'change') return { index, term, chain };
    return { index, term, chain, members: membersOf(decodeConfiguration(entry.data)) };
  }

  push(entry: MirrorEntry): void {
    if (entry.index !== this.lastIndex + 1) throw new Error(`a gap before entry ${entry.index}`);
    this.#entries.push(entry);
    if (entry.members !== undefined) this.#changes.push(entry);
  }

  /** The newest entry at or before `index` that put members in force. */
  changeAt(index: number): MirrorEntry | undefined {
    return this.#changes.findLast((change) => change.index <= index);
  }

  truncateFrom(index: number): void {
    this.#changes = this.#changes.filter((change) => change.index < index);
    this.#entries.length = Math.max(
      0,
      Math.min(this.#entries.length, index - this.#base.index - 1),
    );
  }

  /** Nothing is left but what `base` stands for, and the change that it covers. */
  restart(base: MirrorEntry, change?: MirrorEntry): void {
    this.#base = base;
    this.#entries = [];
    this.#changes = change === undefined ? [] : [change];
  }

  copy(): LogMirror {
    const copy = new LogMirror();
    copy.#base = this.#base;
    copy.#entries = [...this.#entries];
    copy.#changes = [...this.#changes];
    return copy;
  }
}
