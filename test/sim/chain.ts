import type { Entry } from '../../src/raft/types.ts';

/** A hash of a log up to one entry: equal chains mean equal logs. Two words of 32 bits. */
export interface Chain {
  readonly low: number;
  readonly high: number;
}

/** Of the log before its first entry. */
export const emptyChain: Chain = { low: 0x811c9dc5, high: 0x2f72b421 };

const typeNumbers: Readonly<Record<Entry['type'], number>> = { command: 1, barrier: 2, change: 3 };

/** The chain of the log that is one entry longer. */
export function extendChain(chain: Chain, entry: Entry): Chain {
  let low = mix(chain.low, entry.index);
  let high = mix(chain.high, entry.term * 4 + typeNumbers[entry.type]);
  const { data } = entry;
  for (let at = 0; at + 8 <= data.length; at += 8) {
    low = mix(low ^ high, data.readInt32LE(at));
    high = mix(high, data.readInt32LE(at + 4));
  }
  return { low: mix(low, high), high: mix(high, low) };
}

export function sameChain(a: Chain, b: Chain): boolean {
  return a.low === b.low && a.high === b.high;
}

/** One round of a hash that takes a number in. */
export function mix(hash: number, value: number): number {
  let mixed = Math.imul(hash ^ value, 0x9e3779b1);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x85ebca6b);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}
