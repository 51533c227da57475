import type { RaftOptions } from './options.ts';
import type { Rounds } from './rounds.ts';
import type { Index, Instant } from './types.ts';

/** Most messages that are sent at once to make up for lost answers. */
const maxBurst = 16;
const never = Number.NEGATIVE_INFINITY as Instant;

/**
 * One follower as the leader sees it. `probe`: it is not known where the logs agree, one message at a time
 * finds out. `pipeline`: they agree up to `match`, messages follow each other without waiting. `snapshot`: it
 * needs entries that are gone, a snapshot is on its way.
 */
export class Progress {
  state: 'probe' | 'pipeline' | 'snapshot' = 'probe';
  /** Every entry up to here is durable there. */
  match = 0 as Index;
  /** The next entry to send. */
  next: Index;
  /** Any answer in this term: alive (check quorum). */
  heardAt: Instant;
  /** It followed this leader in this round, at this instant (leases, ReadIndex). */
  contactRound = 0;
  contactAt = never;
  /** False from a broken link until the next answer. */
  reachable = true;
  /** Its answers carry rounds. */
  echoes = false;
  /** In `probe`: the last entry of the one message whose answer is awaited. */
  probeEnd: Index | undefined;
  /** Rejections in a row, to step back in growing strides. */
  rejections = 0;
  /** In `snapshot`: what the snapshot covers, and when waiting for the answer ends. */
  snapshotIndex = 0 as Index;
  snapshotDeadline = never;
  /** How long entries take from leaving to being known as durable there, smoothed; undefined before the first. */
  answerMs: number | undefined;

  readonly #inflight: { lastIndex: Index; bytes: number; sentAt: Instant }[] = [];
  #inflightBytes = 0;
  /** Messages that have not been answered; lost ones stay counted. */
  #unanswered = 0;
  #probe: { round: number; ahead: number; since: Instant } | undefined;

  constructor(next: Index, now: Instant) {
    this.next = next;
    this.heardAt = now;
  }

  /** Back to one message at a time; from the first entry not known to be there, if any is known to be. */
  becomeProbe(): void {
    if (this.match > 0) this.next = (this.match + 1) as Index;
    this.state = 'probe';
    this.probeEnd = undefined;
    this.rejections = 0;
    this.#forgetInflight();
  }

  /** Messages may be lost from here on: nothing more is sent until a heartbeat has been answered. */
  becomeUnreachable(): void {
    this.reachable = false;
    if (this.state === 'snapshot') return;
    this.becomeProbe();
    this.probeEnd = (this.next - 1) as Index;
  }

  becomePipeline(): void {
    this.state = 'pipeline';
    // What the probe carried may still be on its way to the disk there.
    this.next = (Math.max(this.match, this.probeEnd ?? 0) + 1) as Index;
    this.probeEnd = undefined;
    this.rejections = 0;
    this.#forgetInflight();
  }

  becomeSnapshot(index: Index, deadline: Instant): void {
    this.state = 'snapshot';
    this.snapshotIndex = index;
    this.snapshotDeadline = deadline;
    this.probeEnd = undefined;
    this.#forgetInflight();
  }

  /** Whether entries may be sent now. */
  hasRoom(options: RaftOptions): boolean {
    if (this.state === 'probe') return this.probeEnd === undefined;
    return (
      this.state === 'pipeline' &&
      this.#inflight.length < options.maxInflightMessages &&
      this.#inflightBytes < options.maxInflightBytes
    );
  }

  /** A message with entries left in `pipeline`. */
  addInflight(lastIndex: Index, bytes: number, sentAt: Instant): void {
    this.#inflight.push({ lastIndex, bytes, sentAt });
    this.#inflightBytes += bytes;
    this.next = (lastIndex + 1) as Index;
  }

  /** Everything up to `index` is known to be there: true when that is news. */
  reach(index: Index, now: Instant): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1) as Index;
    let freed = 0;
    let sentAt = now;
    for (const message of this.#inflight) {
      if (message.lastIndex > index) break;
      this.#inflightBytes -= message.bytes;
      sentAt = message.sentAt;
      freed++;
    }
    if (freed > 0) {
      this.#inflight.splice(0, freed);
      this.answerMs = smoothed(this.answerMs, now - sentAt);
    }
    return true;
  }

  #forgetInflight(): void {
    this.#inflight.length = 0;
    this.#inflightBytes = 0;
  }

  /** Any message that will be answered at most once left in `round`. */
  sent(now: Instant, round: number): void {
    if (!this.echoes && this.#probe === undefined) {
      this.#probe = { round, ahead: this.#unanswered, since: now };
    }
    this.#unanswered++;
  }

  /** A read needs proof of this round: measure from it, not from an older one. */
  probeFrom(round: number, now: Instant): void {
    this.#probe = { round, ahead: this.#unanswered, since: now };
  }

  /**
   * Messages to send at once so that their answers will prove the probe: more than one when it is not proven
   * after a heartbeat, since then answers it counts on may be lost.
   */
  burst(now: Instant, heartbeatMs: number): number {
    const probe = this.#probe;
    if (this.echoes || probe === undefined || now < probe.since + heartbeatMs) return 1;
    return Math.min(probe.ahead + 1, maxBurst);
  }

  /**
   * An answer came. With a round it proves contact in that round. Without one the answers are counted: each
   * message gets at most one, so when more came than messages had been unanswered at the probe, one of them
   * answers the probe or something later. Lost answers only make this slower.
   */
  answered(now: Instant, round: number, holds: Index, rounds: Rounds): void {
    this.heardAt = now;
    this.reachable = true;
    this.#unanswered = Math.max(0, this.#unanswered - 1);
    if (round > 0) {
      this.echoes = true;
      this.#contact(round, rounds);
      return;
    }
    if (this.echoes) return;
    this.#contact(rounds.newestBefore(holds), rounds);
    if (this.#probe === undefined) return;
    if (this.#probe.ahead > 0) {
      this.#probe.ahead--;
      return;
    }
    this.#contact(this.#probe.round, rounds);
    this.#probe = undefined;
  }

  #contact(round: number, rounds: Rounds): void {
    const startedAt = rounds.startedAt(round);
    if (startedAt === undefined || round <= this.contactRound) return;
    this.contactRound = round;
    this.contactAt = startedAt;
  }
}

/** As TCP smooths its round trips (RFC 6298). */
function smoothed(before: number | undefined, sample: number): number {
  return before === undefined ? sample : before + (sample - before) / 8;
}
