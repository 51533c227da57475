import type { Random } from '../../src/base/random.ts';

/** What a crash leaves whole: smaller than a block, so that a durable write can be torn while it is under way. */
const SECTOR_BYTES = 512;

/** A write that is on its way to the device. */
export interface WriteUnderWay {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Between what is durable and what a reader sees; `certain` ones are durable and only wait for their turn. */
type Change =
  | (WriteUnderWay & { readonly kind: 'write'; readonly certain: boolean })
  | { readonly kind: 'resize'; readonly sizeBytes: number };

/**
 * One file of the simulated disk: what a reader sees now, and what a power cut would leave. Content is kept
 * sparsely, so that a pre-zeroed segment costs nothing.
 */
export class FaultyFile {
  #live = new Content();
  readonly #durable = new Content();
  /** Oldest first. */
  #unsynced: Change[] = [];
  #changes = 0;

  get sizeBytes(): number {
    return this.#live.sizeBytes;
  }

  /** How many changes there ever were: what a sync that begins now will cover. */
  get changes(): number {
    return this.#changes;
  }

  read(target: Uint8Array, offset: number): number {
    return this.#live.read(target, offset);
  }

  /** Visible at once; survives a crash for certain only after `sync`. */
  write(bytes: Uint8Array, offset: number): void {
    this.#live.put(bytes, offset);
    this.#later({ kind: 'write', offset, bytes: bytes.slice(), certain: false });
  }

  /** Durable when it returns, and nothing else is. */
  writeDurably(bytes: Uint8Array, offset: number): void {
    this.#live.put(bytes, offset);
    if (this.#unsynced.length === 0) this.#durable.put(bytes, offset);
    else this.#later({ kind: 'write', offset, bytes: bytes.slice(), certain: true });
  }

  truncate(sizeBytes: number): void {
    this.#live.resize(sizeBytes);
    this.#later({ kind: 'resize', sizeBytes });
  }

  /** Makes the first `changes` changes durable: those that were there when the sync began. */
  sync(changes: number): void {
    const before = this.#changes - this.#unsynced.length;
    for (const change of this.#unsynced.splice(0, Math.max(0, changes - before))) {
      this.#durable.apply(change);
    }
  }

  /** The power is cut: each sector of every unsynced write may or may not have reached the disk. */
  crash(random: Random, underWay: WriteUnderWay | undefined): void {
    for (const change of this.#unsynced) {
      if (change.kind === 'write' && !change.certain) this.#tear(random, change);
      else if (change.kind === 'write' || random.int(0, 1) === 1) this.#durable.apply(change);
    }
    if (underWay !== undefined) this.#tear(random, underWay);
    this.#unsynced = [];
    this.#live = this.#durable.copy();
  }

  /** Flips one bit of what is durable: rot, for tests of diagnoses. */
  flipBit(offset: number): void {
    this.#live.flipBit(offset);
    this.#durable.flipBit(offset);
  }

  #later(change: Change): void {
    this.#unsynced.push(change);
    this.#changes++;
  }

  /** None, all, or any of the sectors. */
  #tear(random: Random, { offset, bytes }: WriteUnderWay): void {
    const chance = random.int(0, 3);
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      const reached = chance === 3 ? random.int(0, 1) === 1 : chance === 2;
      if (reached) this.#durable.put(bytes.subarray(at, at + SECTOR_BYTES), offset + at);
    }
  }
}

/** Where the zeros begin with which `bytes` ends. */
function lengthWithoutZeros(bytes: Uint8Array): number {
  let end = bytes.length;
  if (bytes.byteOffset % 4 === 0 && end % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, end / 4);
    while (end > 0 && words[end / 4 - 1] === 0) end -= 4;
  }
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

/** Bytes of a length; zeros at the end need no memory. */
class Content {
  #bytes = new Uint8Array(0);
  #used = 0;
  sizeBytes = 0;

  read(target: Uint8Array, offset: number): number {
    const available = Math.max(0, Math.min(target.length, this.sizeBytes - offset));
    const kept = this.#bytes.subarray(offset, Math.min(offset + available, this.#used));
    target.fill(0, kept.length, available);
    target.set(kept);
    return available;
  }

  put(bytes: Uint8Array, offset: number): void {
    const end = Math.max(lengthWithoutZeros(bytes), Math.min(bytes.length, this.#used - offset));
    const needed = Math.max(this.#used, end <= 0 ? 0 : offset + end);
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = larger;
    }
    if (end > 0) this.#bytes.set(bytes.subarray(0, end), offset);
    this.#used = needed;
    this.sizeBytes = Math.max(this.sizeBytes, offset + bytes.length);
  }

  /** New bytes are zero. */
  resize(sizeBytes: number): void {
    if (sizeBytes < this.#used) {
      this.#bytes.fill(0, sizeBytes, this.#used);
      this.#used = sizeBytes;
    }
    this.sizeBytes = sizeBytes;
  }

  apply(change: Change): void {
    if (change.kind === 'write') this.put(change.bytes, change.offset);
    else this.resize(change.sizeBytes);
  }

  copy(): Content {
    const copy = new Content();
    copy.#bytes = this.#bytes.slice(0, this.#used);
    copy.#used = this.#used;
    copy.sizeBytes = this.sizeBytes;
    return copy;
  }

  flipBit(offset: number): void {
    if (offset < this.#used) this.#bytes[offset] = (this.#bytes[offset] ?? 0) ^ 1;
  }
}
