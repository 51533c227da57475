import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { Replica } from '../sql/replica.ts';
import type { Wait, Waiter } from '../sql/waiter.ts';
import { TimedWait } from './waits.ts';

/**
 * The writer's turn of one database: at most one session has it. Those that wait get it in the order in which they
 * came, each until its deadline. Nobody gets it while too much is captured and not yet committed.
 */
export class Turns {
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #waiting = new Set<TurnWait>();
  #taken = false;
  #handingOut = false;

  constructor(replica: Replica, clock: Clock) {
    this.#replica = replica;
    this.#clock = clock;
    replica.onRoom = () => this.#handOut();
  }

  /** Sessions in line. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Someone has the turn. */
  get taken(): boolean {
    return this.#taken;
  }

  /** Takes the turn when nobody has it or is in line for it. */
  tryTake(): boolean {
    if (this.#taken || this.#waiting.size > 0 || !this.#replica.hasRoom) return false;
    this.#taken = true;
    return true;
  }

  /** Takes the turn that nobody has, whoever is in line: SQLite has already given this session the writer lock. */
  seize(): void {
    assert(!this.#taken, 'two sessions hold the writer lock');
    this.#taken = true;
  }

  /** Gets in line. The waiter is resumed with the turn, or fails with `busy` after `timeoutMs` (0: never). */
  wait(waiter: Waiter, timeoutMs: number): Wait {
    return new TurnWait(this.#waiting, waiter, this.#clock, timeoutMs);
  }

  /** Gives the turn back: the next in line gets it at once. */
  release(): void {
    assert(this.#taken, 'only who has the turn gives it back');
    this.#taken = false;
    this.#handOut();
  }

  /** A loop instead of a call from turn to turn: each may give its turn back before it returns. */
  #handOut(): void {
    if (this.#handingOut) return;
    this.#handingOut = true;
    try {
      for (const next of this.#waiting) {
        if (this.#taken || !this.#replica.hasRoom) break;
        this.#taken = true;
        next.resume();
      }
    } finally {
      this.#handingOut = false;
    }
  }
}

class TurnWait extends TimedWait {
  readonly #line: Set<TurnWait>;

  constructor(line: Set<TurnWait>, waiter: Waiter, clock: Clock, timeoutMs: number) {
    super(waiter, clock, timeoutMs, 'busy');
    this.#line = line;
    line.add(this);
  }

  protected override ended(): void {
    super.ended();
    this.#line.delete(this);
  }
}
