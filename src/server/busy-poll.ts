import type { Clock } from '../base/clock.ts';
import type { Instant } from '../base/ids.ts';

/** What decides about staying awake. */
export interface BusyPollParts {
  readonly clock: Clock;
  /** How long after an answer, at most; 0: never. */
  readonly limitMs: number;
  /** Whether others have work to do that clients wait for: the processor is theirs. */
  readonly othersWork: () => boolean;
}

/**
 * Keeps the event loop turning for a moment after an answer, since a client in a hurry sends its next request at once:
 * falling asleep and being woken takes longer than a small request. Only while clients have been that quick lately, so that
 * a server with little to do sleeps.
 */
export class BusyPoll {
  readonly #parts: BusyPollParts;
  readonly #turn = (): void => this.#turned();
  #turning = false;
  /** Something was answered in this turn of the loop. */
  #answered = false;
  /** When the last answers left; undefined once something has arrived since. */
  #answeredAt: Instant | undefined;
  /** The last request came within the limit. */
  #quick = false;

  constructor(parts: BusyPollParts) {
    this.#parts = parts;
  }

  /** A client has its answer and may ask again. */
  answered(): void {
    this.#answered = true;
    if (this.#turning || this.#parts.limitMs === 0) return;
    this.#turning = true;
    this.#parts.clock.nextTurn(this.#turn);
  }

  /** A client asks for something. */
  asked(): void {
    if (this.#answeredAt === undefined) return;
    this.#quick = this.#isRecent(this.#answeredAt);
    this.#answeredAt = undefined;
  }

  #turned(): void {
    const { clock, othersWork } = this.#parts;
    if (this.#answered) this.#answeredAt = clock.now();
    this.#answered = false;
    // Once something was asked the next answer makes the loop turn again.
    this.#turning = this.#quick && this.#isRecent(this.#answeredAt) && !othersWork();
    if (this.#turning) clock.nextTurn(this.#turn);
  }

  #isRecent(answeredAt: Instant | undefined): boolean {
    if (answeredAt === undefined) return false;
    return this.#parts.clock.now() - answeredAt < this.#parts.limitMs;
  }
}
