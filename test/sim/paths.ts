import type { Random } from '../../src/base/random.ts';
import type { ServerId } from '../../src/raft/types.ts';
import type { NetworkOptions } from './network.ts';

/** Longest delay once all is well. */
const calmDelayMs = 8;

/** The ways from host to host: which are cut, which are slow, and how long something takes. */
export class Paths {
  readonly #random: Random;
  readonly #options: NetworkOptions;
  readonly #cuts = new Set<string>();
  readonly #slow = new Map<string, number>();
  #calm = false;

  constructor(random: Random, options: NetworkOptions) {
    this.#random = random;
    this.#options = options;
  }

  cut(from: ServerId, to: ServerId): void {
    this.#cuts.add(nameOf(from, to));
  }

  slow(from: ServerId, to: ServerId, byMs: number): void {
    this.#slow.set(nameOf(from, to), byMs);
  }

  heal(): void {
    this.#cuts.clear();
    this.#slow.clear();
  }

  calm(): void {
    this.#calm = true;
    this.heal();
  }

  isCut(from: ServerId, to: ServerId): boolean {
    return this.#cuts.has(nameOf(from, to));
  }

  /** How long something is on its way now. */
  delayMs(from: ServerId, to: ServerId): number {
    const { maxDelayMs, slowMs, slowPercent } = this.#options;
    if (this.happens(slowPercent)) return this.#random.int(0, slowMs);
    const longestMs = this.#calm ? Math.min(maxDelayMs, calmDelayMs) : maxDelayMs;
    return this.#random.int(0, longestMs * 10) / 10 + (this.#slow.get(nameOf(from, to)) ?? 0);
  }

  /** Whether a mishap happens that does so many times in a hundred. None does once all is calm. */
  happens(percent: number): boolean {
    return !this.#calm && percent > 0 && this.#random.int(0, 99) < percent;
  }
}

/** Names the way from one to the other. */
export function nameOf(from: ServerId, to: ServerId): string {
  return `${from}>${to}`;
}
