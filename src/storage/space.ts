import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { DiskSpace } from '../raft/ports.ts';
import { DiskFullError } from './errors.ts';

/** How long to wait before a full device is tried again: doubled from the first to the last. */
const firstPauseMs = 100;
const lastPauseMs = 2000;

/**
 * Waits out a full device. What must be stored is tried again until it succeeds, and meanwhile everybody can see
 * that space is lacking. Only for work that may be repeated as a whole: a failed attempt leaves nothing behind.
 */
export class Space implements DiskSpace {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners: (() => void)[] = [];
  /** Ends the pause of each that waits. */
  readonly #pauses = new Set<() => void>();
  #waiting = 0;
  #givenUp = false;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  get lacking(): boolean {
    return this.#waiting > 0;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  giveUp(): void {
    this.#givenUp = true;
    for (const end of this.#pauses) end();
  }

  /** Carries `work` out; on a full device again and again. Rejects with its other failures, and once given up. */
  async patiently<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (this.#givenUp || !(error instanceof DiskFullError)) throw error;
      this.#enter(error);
    }
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, lastPauseMs)) {
      await this.#pause(pauseMs);
      try {
        const result = await work();
        this.#leave();
        return result;
      } catch (error) {
        // Given up or failed, the process ends: space is as it was.
        if (this.#givenUp || !(error instanceof DiskFullError)) throw error;
      }
    }
  }

  #enter(error: DiskFullError): void {
    this.#waiting++;
    if (this.#waiting > 1) return;
    const { path } = error;
    this.#logger.error({ path }, 'no space left on the device: writes are refused until there is');
    this.#tell();
  }

  #leave(): void {
    this.#waiting--;
    if (this.#waiting > 0) return;
    this.#logger.info({}, 'there is space on the device again: writes are accepted');
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#pauses.delete(end);
        timer.cancel();
        resolve();
      };
      const timer = this.#clock.after(pauseMs, end);
      this.#pauses.add(end);
      if (this.#givenUp) end();
    });
  }
}
