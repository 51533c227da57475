import { assert } from './assert.ts';

/** Numbers that a ring holds, lengths of records included. */
const CELLS = 16 * 1024;

/** The two positions lie in cache lines of their own: each thread writes one of them. */
const READ_AT = 0;
const WRITTEN_AT = 16;
const CELLS_AT_BYTE = 128;

/** In place of a length: the next record is at the beginning. */
const GOES_ON_AT_THE_BEGINNING = -1;

/** The most numbers that one record has. */
export const longestRecord = 1024;

/**
 * Records of numbers on their way from one thread to another, in memory that both see: one writes, one reads, in order,
 * and neither waits.
 */
export class SharedRing {
  readonly memory: SharedArrayBuffer;
  readonly #positions: Int32Array;
  readonly #cells: Float64Array;

  /** @param memory of the ring on the other thread; a new one without it */
  constructor(memory = new SharedArrayBuffer(CELLS_AT_BYTE + CELLS * 8)) {
    this.memory = memory;
    this.#positions = new Int32Array(memory, 0, CELLS_AT_BYTE / 4);
    this.#cells = new Float64Array(memory, CELLS_AT_BYTE, CELLS);
  }

  /** Writes the first `length` numbers of `record`; false, and nothing is written, when there is no room. */
  put(record: Float64Array, length: number): boolean {
    assert(length > 0 && length <= longestRecord, 'a record has a number and fits');
    const cells = this.#cells;
    const read = Atomics.load(this.#positions, READ_AT);
    let at = this.#positions[WRITTEN_AT] ?? 0;
    const needed = 1 + length;
    // The written position never catches up with the read one: that is what an empty ring looks like.
    if (at < read && at + needed >= read) return false;
    if (at + needed > CELLS) {
      if (needed >= read) return false;
      if (at < CELLS) cells[at] = GOES_ON_AT_THE_BEGINNING;
      at = 0;
    }
    cells[at++] = length;
    for (let i = 0; i < length; i++) cells[at + i] = record[i] ?? 0;
    Atomics.store(this.#positions, WRITTEN_AT, at + length);
    return true;
  }

  /** The first number of the oldest record; undefined when there is none. */
  get first(): number | undefined {
    const at = this.#oldest();
    return at === undefined ? undefined : this.#cells[at + 1];
  }

  /** Takes the oldest record out and puts its numbers into `into`. How many they are; 0 when there is none. */
  take(into: Float64Array): number {
    const at = this.#oldest();
    if (at === undefined) return 0;
    const cells = this.#cells;
    const length = cells[at] ?? 0;
    for (let i = 0; i < length; i++) into[i] = cells[at + 1 + i] ?? 0;
    Atomics.store(this.#positions, READ_AT, at + 1 + length);
    return length;
  }

  #oldest(): number | undefined {
    const written = Atomics.load(this.#positions, WRITTEN_AT);
    const read = this.#positions[READ_AT] ?? 0;
    if (read === written) return undefined;
    if (read < CELLS && this.#cells[read] !== GOES_ON_AT_THE_BEGINNING) return read;
    return 0;
  }
}
