import type { Clock } from '../base/clock.ts';
import { DqliteError } from '../base/errors.ts';
import type { Instant, ServerId } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Consensus } from '../gateway/consensus.ts';
import type { Server } from '../protocol/log.ts';
import type { RaftStatus } from '../raft/status.ts';
import {
  type MemberView,
  nextRoleChange,
  type RoleChange,
  type RoleTargets,
} from './role-decision.ts';

/** What a member says of itself. */
export interface MemberDescription {
  readonly failureDomain: bigint;
  readonly weight: bigint;
}

/** What the roles of a cluster are managed with. */
export interface RoleManagerParts {
  readonly self: ServerId;
  readonly targets: RoleTargets;
  /** Between two looks at the members. */
  readonly intervalMs: number;
  /** A follower that acknowledged nothing for so long does not acknowledge. */
  readonly electionTimeoutMs: number;
  readonly consensus: Pick<Consensus, 'transition' | 'change'>;
  /** This server's Raft. Rejects when it has stopped. */
  readonly status: () => Promise<RaftStatus | undefined>;
  /** Asks a member over the client protocol, so that servers of every kind answer. */
  readonly describe: (address: string, signal: AbortSignal) => Promise<MemberDescription>;
  /** The same of this server, which need not be able to dial itself. */
  readonly describeSelf: () => MemberDescription;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A member is lost when it left so many questions in a row unanswered, and acknowledged nothing meanwhile. */
const LOST_AFTER_POLLS = 3;
/** A server that has no answer by then counts as silent. */
const POLL_TIMEOUT_MS = 2000;
/** A server that could not be given a role (it did not catch up, say) is not tried again before. */
const RETRY_AFTER_MS = 10_000;

interface Poll {
  description: MemberDescription;
  failures: number;
  failingSince: Instant;
  /** Not before then is it a candidate again. */
  barredUntil: Instant;
}

/**
 * Keeps the wanted numbers of voters and standbys while this server leads: asks every member who it is, lets
 * `nextRoleChange` decide and makes one change after the other. Any server may run one: only a leader's changes count.
 */
export class RoleManager {
  readonly #parts: RoleManagerParts;
  readonly #polls = new Map<ServerId, Poll>();
  #stopped = false;
  #woken = false;
  #wake: (() => void) | undefined;
  /** The last reason why nothing was done, so that it is logged once. */
  #withheld = '';

  constructor(parts: RoleManagerParts) {
    this.#parts = parts;
  }

  /** Runs until `stop`. Never rejects. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const changed = this.#leads && (await this.#round());
      if (!changed) await this.#pause();
    }
  }

  /** Something changed in the cluster: looks at once instead of at the next interval. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  stop(): void {
    this.#stopped = true;
    this.wake();
  }

  get #leads(): boolean {
    const { state, ready, transferring } = this.#parts.consensus.transition;
    return !this.#stopped && state === 'leader' && ready && !transferring;
  }

  /** One look at all members and at most one change; true when there may be more to do at once. */
  async #round(): Promise<boolean> {
    const { consensus, logger, self, targets } = this.#parts;
    const { servers } = consensus.transition.configuration;
    this.#forgetOthersThan(servers);
    try {
      await Promise.all(servers.map((server) => this.#poll(server)));
      const raft = await this.#parts.status();
      if (raft === undefined || !this.#leads) return false;
      const members = raft.configuration.servers.map((server) => this.#view(server, raft));
      const change = nextRoleChange(members, self, targets);
      return change !== undefined && (await this.#make(change));
    } catch (error) {
      if (!this.#stopped) logger.warn({ err: error }, 'the roles of the members cannot be checked');
      return false;
    }
  }

  async #make(change: RoleChange): Promise<boolean> {
    const { clock, consensus, logger } = this.#parts;
    const { member, role, because, quorum, safe } = change;
    const { id, address, role: before } = member;
    const fields = { server: id, address, from: before, to: role, because, quorum };
    if (!safe) {
      const withheld = `${id} ${role} ${quorum}`;
      if (withheld !== this.#withheld) logger.warn(fields, 'role change would stop the cluster');
      this.#withheld = withheld;
      return false;
    }
    this.#withheld = '';
    try {
      await consensus.change({ kind: 'assign', id, role });
      logger.info(fields, 'role changed');
      return true;
    } catch (error) {
      if (!(error instanceof DqliteError)) throw error;
      const poll = this.#polls.get(id);
      // Another change, by an operator say, is not its fault.
      const isBusy = error.code === 'changeInProgress';
      if (poll !== undefined && !isBusy) poll.barredUntil = later(clock.now(), RETRY_AFTER_MS);
      logger.warn({ ...fields, err: error }, 'role could not be changed');
      return false;
    }
  }

  #view(server: Server, raft: RaftStatus): MemberView {
    const { clock, electionTimeoutMs, intervalMs, self } = this.#parts;
    const now = clock.now();
    const poll = this.#polls.get(server.id);
    const { failureDomain, weight } = poll?.description ?? { failureDomain: 0n, weight: 0n };
    const follower = raft.peers.find(({ id }) => id === server.id);
    const isFed = follower !== undefined && follower.state !== 'idle';
    const acknowledges =
      server.id === self || (isFed && now - follower.heardAt < electionTimeoutMs);
    const failures = poll?.failures ?? 0;
    const silentMs = failures === 0 ? 0 : now - (poll?.failingSince ?? now);
    return {
      ...server,
      answers: failures === 0 && poll !== undefined && now >= poll.barredUntil,
      acknowledges,
      lost:
        !acknowledges &&
        failures >= LOST_AFTER_POLLS &&
        silentMs >= (LOST_AFTER_POLLS - 1) * intervalMs,
      failureDomain,
      weight,
    };
  }

  async #poll({ id, address }: Server): Promise<void> {
    const { clock, describe, describeSelf, self } = this.#parts;
    const poll = this.#polls.get(id) ?? newPoll();
    this.#polls.set(id, poll);
    const startedAt = clock.now();
    try {
      poll.description =
        id === self
          ? describeSelf()
          : await describe(address, AbortSignal.timeout(POLL_TIMEOUT_MS));
      poll.failures = 0;
    } catch {
      if (poll.failures === 0) poll.failingSince = startedAt;
      poll.failures += 1;
    }
  }

  #forgetOthersThan(servers: readonly Server[]): void {
    const ids = new Set(servers.map(({ id }) => id));
    for (const id of this.#polls.keys()) if (!ids.has(id)) this.#polls.delete(id);
  }

  async #pause(): Promise<void> {
    if (!this.#woken && !this.#stopped) {
      await new Promise<void>((resolve) => {
        const timer = this.#parts.clock.after(this.#parts.intervalMs, resolve);
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#wake = undefined;
    this.#woken = false;
    // Who is no longer the leader knows nothing of how the members were meanwhile.
    if (!this.#leads) this.#polls.clear();
  }
}

function newPoll(): Poll {
  const never = Number.NEGATIVE_INFINITY as Instant;
  const description = { failureDomain: 0n, weight: 0n };
  return { description, failures: 0, failingSince: never, barredUntil: never };
}

function later(at: Instant, ms: number): Instant {
  return (at + ms) as Instant;
}
