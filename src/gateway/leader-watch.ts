import type { Clock, Timer } from '../base/clock.ts';
import type { Instant, ServerId } from '../base/ids.ts';
import { PendingWait, type Wait, type Waiter } from '../sql/waiter.ts';
import type { Consensus } from './consensus.ts';

/** What a leader watch is made of. */
export interface LeaderWatchParts {
  readonly consensus: Pick<Consensus, 'transition'>;
  readonly clock: Clock;
  readonly self: ServerId;
  /** Waiting for a leader ends this long after the last one was lost. */
  readonly limitMs: number;
}

/**
 * Lets clients wait while leadership moves. Whoever is told at once that nobody leads asks again after a pause that
 * grows (go-dqlite: 100 ms, 200 ms, up to 1 s); whoever is told when it is decided goes on at once. Only a voter makes
 * them wait, since only a voter hears of every election, and not for longer than an election should take.
 */
export class LeaderWatch {
  readonly #parts: LeaderWatchParts;
  #waiting = new Set<PendingWait>();
  /** When the leader was lost; undefined while there is one, or nobody to elect one here. */
  #unknownSince: Instant | undefined;
  #timer: Timer | undefined;

  constructor(parts: LeaderWatchParts) {
    this.#parts = parts;
    this.changed();
  }

  /** Nobody is known to lead, or leadership is being handed over, and that should not last. */
  get pending(): boolean {
    const since = this.#unknownSince;
    return since !== undefined && this.#parts.clock.now() < since + this.#parts.limitMs;
  }

  /** Resumes the waiter when it is known who leads, or when that has taken too long. Only while `pending`. */
  wait(waiter: Waiter): Wait {
    const wait = new PendingWait(waiter);
    this.#waiting.add(wait);
    if (this.#timer === undefined) this.#arm();
    return wait;
  }

  /** For the gateway: this server's place in the cluster may have changed. */
  changed(): void {
    const { clock, consensus, self } = this.#parts;
    const { configuration, leader, transferring } = consensus.transition;
    const votes = configuration.servers.some(({ id, role }) => id === self && role === 'voter');
    if (votes && (leader === undefined || transferring)) {
      this.#unknownSince ??= clock.now();
      return;
    }
    this.#unknownSince = undefined;
    this.#resumeAll();
  }

  #arm(): void {
    const { clock, limitMs } = this.#parts;
    const until = (this.#unknownSince ?? clock.now()) + limitMs;
    this.#timer = clock.after(Math.max(0, until - clock.now()), () => this.#resumeAll());
  }

  #resumeAll(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wait of waiting) wait.resume();
  }
}
