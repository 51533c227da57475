import type { Entry } from '../../src/raft/types.ts';
import { type Chain, emptyChain, extendChain } from './chain.ts';

/** One entry of a mirror: the chain stands for all bytes up to it. */
export interface MirrorEntry {
  readonly index: number;
  readonly term: number;
  readonly chain: Chain;
}

/** What a log holds, as hashes: of what Raft has in memory, or of what its disk promised to keep. */
export class LogMirror {
  #entries: MirrorEntry[] = [];
  /** What the first entry follows. */
  #base: MirrorEntry = { index: 0, term: 0, chain: emptyChain };

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
    return { index: entry.index, term: entry.term, chain: extendChain(before.chain, entry) };
  }

  push(entry: MirrorEntry): void {
    if (entry.index !== this.lastIndex + 1) throw new Error(`a gap before entry ${entry.index}`);
    this.#entries.push(entry);
  }

  truncateFrom(index: number): void {
    this.#entries.length = Math.max(0, Math.min(this.#entries.length, index - this.#base.index - 1));
  }

  /** Nothing is left but what `base` stands for. */
  restart(base: MirrorEntry): void {
    this.#base = base;
    this.#entries = [];
  }

  copy(): LogMirror {
    const copy = new LogMirror();
    copy.#base = this.#base;
    copy.#entries = [...this.#entries];
    return copy;
  }
}
