import type { Clock } from '../base/clock.ts';
import { DqliteError } from '../base/errors.ts';
import type { Instant, ServerId } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Consensus } from '../gateway/consensus.ts';
import type { PeerStatus, RaftStatus } from '../raft/status.ts';
import type { RaftNodeStatus } from './raft-node.ts';

/** A leader's disk is slow when it takes so many times as long as the quickest voter takes to answer. */
const SLOW_FACTOR = 4;
/** Below that nobody minds, and timers and threads say as much as disks. */
const SLOW_AT_LEAST_MS = 5;
/** So many looks in a row must agree: one slow moment is none of the disk's. */
const LOOKS = 5;
/** After an attempt leadership stays where it is for so long, whatever the disks do. */
const PAUSE_MS = 60_000;
/** Entries that a voter which counts as caught up may lack: those on their way to it. */
const CAUGHT_UP_WITHIN = 1024;

/** What a leader's disk is watched with. */
export interface DiskHealthParts {
  /** How long the disk must have been slow; 0: leadership stays. */
  readonly slowForMs: number;
  /** A voter that answered nothing for so long is no successor. */
  readonly electionTimeoutMs: number;
  readonly consensus: Pick<Consensus, 'transition' | 'transfer'>;
  /** This server's Raft and its links. Rejects when it has stopped. */
  readonly status: () => Promise<RaftNodeStatus>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A voter that has every entry on disk long before this server, and how long it takes. */
export interface QuickerVoter {
  readonly id: ServerId;
  readonly address: string;
  readonly answerMs: number;
}

/**
 * The voter that should lead instead of this server, whose appends take `appendMs`; undefined while there is none.
 * Both times include whatever waits for a disk, the voter's also the network: a leader is compared with
 * those that do the same work, never with a number for all disks.
 */
export function quickerVoter(
  raft: RaftStatus,
  appendMs: number | undefined,
  now: Instant,
  electionTimeoutMs: number,
): QuickerVoter | undefined {
  if (appendMs === undefined || appendMs < SLOW_AT_LEAST_MS) return undefined;
  const voters = raft.peers.flatMap((peer): QuickerVoter[] => {
    const { id, address, answerMs } = peer;
    const isFit = canLead(peer, raft, now - electionTimeoutMs) && answerMs !== undefined;
    return isFit && answerMs * SLOW_FACTOR <= appendMs ? [{ id, address, answerMs }] : [];
  });
  return voters.sort((a, b) => a.answerMs - b.answerMs)[0];
}

function canLead(peer: PeerStatus, { commitIndex }: RaftStatus, heardSince: number): boolean {
  const { heardAt, match, role, state } = peer;
  const isClose = match + CAUGHT_UP_WITHIN >= commitIndex;
  return role === 'voter' && state === 'pipeline' && heardAt > heardSince && isClose;
}

/**
 * Hands leadership to a quicker voter when the disk of this server, leading, stays slow. Any server may run one.
 */
export class DiskHealth {
  readonly #parts: DiskHealthParts;
  #slowLooks = 0;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(parts: DiskHealthParts) {
    this.#parts = parts;
  }

  /** Runs until `stop`. Never rejects. */
  async run(): Promise<void> {
    while (!this.#stopped && this.#parts.slowForMs > 0) {
      await this.#pause();
      if (!this.#leads) this.#slowLooks = 0;
      else if (this.#parts.clock.now() >= this.#pausedUntil) await this.#look();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  get #leads(): boolean {
    const { state, ready, transferring } = this.#parts.consensus.transition;
    return !this.#stopped && state === 'leader' && ready && !transferring;
  }

  async #look(): Promise<void> {
    const { clock, electionTimeoutMs, logger, status } = this.#parts;
    try {
      const { raft, appendMs } = await status();
      if (raft === undefined || !this.#leads) return;
      const successor = quickerVoter(raft, appendMs, clock.now(), electionTimeoutMs);
      this.#slowLooks = successor === undefined ? 0 : this.#slowLooks + 1;
      if (successor === undefined || this.#slowLooks < LOOKS) return;
      this.#slowLooks = 0;
      await this.#handOver(successor, appendMs);
    } catch (error) {
      if (!this.#stopped) logger.warn({ err: error }, 'the disk cannot be watched');
    }
  }

  async #handOver({ id, address, answerMs }: QuickerVoter, appendMs?: number): Promise<void> {
    const { clock, consensus, logger } = this.#parts;
    this.#pausedUntil = clock.now() + PAUSE_MS;
    const fields = {
      appendMs: rounded(appendMs),
      successor: id,
      address,
      answerMs: rounded(answerMs),
    };
    logger.warn(fields, 'the disk of this server is slow: leadership goes to a quicker one');
    try {
      await consensus.transfer(id);
    } catch (error) {
      if (!(error instanceof DqliteError)) throw error;
      logger.warn({ err: error, successor: id }, 'leadership could not be handed over');
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#parts.clock.after(this.#parts.slowForMs / LOOKS, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 10) / 10;
}
