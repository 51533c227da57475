import type { Instant } from '../base/ids.ts';

/**
 * How long appends take from being asked for to being durable. They end in the order in which they began. As a follower's
 * answers do, the time includes waiting for the write before.
 */
export class AppendTimes {
  readonly #under: Instant[] = [];
  #smoothedMs: number | undefined;

  began(now: Instant): void {
    this.#under.push(now);
  }

  ended(now: Instant): void {
    const beganAt = this.#under.shift();
    if (beganAt === undefined) return;
    const sample = now - beganAt;
    const before = this.#smoothedMs ?? sample;
    this.#smoothedMs = before + (sample - before) / 8;
  }

  /** Smoothed as the answers of followers are; one that has not ended counts as soon as it is longer. */
  milliseconds(now: Instant): number | undefined {
    const oldest = this.#under[0];
    if (oldest === undefined) return this.#smoothedMs;
    return Math.max(this.#smoothedMs ?? 0, now - oldest);
  }
}
