import { assert } from '../base/assert.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Instant, ServerId, Term } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import {
  encodePeerMessage,
  type InstallSnapshotHeader,
  type WirePeerMessage,
} from '../protocol/peer-messages.ts';
import type { SnapshotData } from '../raft/types.ts';
import type { Dial } from './peer-dial.ts';
import type { PeerLimits } from './peer-limits.ts';
import { PeerOutlet } from './peer-outlet.ts';
import { PeerQueue } from './peer-queue.ts';

/** What all links of a server share. */
export interface LinkParts {
  /** First bytes on every link. */
  readonly introduction: Buffer;
  readonly limits: PeerLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly logger: Logger;
  /** Messages to this peer may have been lost. */
  readonly unreachable: (peer: ServerId) => void;
}

/** `idle`: never dialled or given up until the next message; `waiting`: until the next attempt. */
export type LinkState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

/**
 * The outbound connection to one server: dialled when the first message comes, dialled again when it breaks.
 * It carries messages in one direction only; the answers come on the connection that the peer dials.
 */
export class PeerLink {
  readonly #id: ServerId;
  readonly #parts: LinkParts;
  readonly #logger: Logger;
  readonly #queue: PeerQueue;
  #address: string;
  #state: LinkState = 'idle';
  #outlet: PeerOutlet | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #lastError: Error | undefined;
  #scheduled = false;
  #openedAt = 0 as Instant;
  #askedAt: number | undefined;
  #streaming: { readonly term: Term } | undefined;
  #whenDecided: ((outlet: PeerOutlet | undefined) => void)[] = [];

  constructor(id: ServerId, address: string, parts: LinkParts) {
    this.#id = id;
    this.#address = address;
    this.#parts = parts;
    this.#queue = new PeerQueue(parts.limits);
    this.#logger = parts.logger.child({ peer: id });
  }

  get state(): LinkState {
    return this.#state;
  }

  get address(): string {
    return this.#address;
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** Sends a message, or drops it when it would be of no use by the time it could leave. */
  send(message: WirePeerMessage): void {
    if (this.#state === 'closed') return;
    if (this.#streaming !== undefined && message.term > this.#streaming.term)
      this.abandonSnapshot();
    if (!this.#queue.push(message)) {
      this.#parts.unreachable(this.#id);
      return;
    }
    if (message.kind === 'appendEntries' || message.kind === 'requestVote') {
      this.#askedAt ??= this.#parts.clock.now();
    }
    if (this.#state === 'idle') this.#connect();
    else this.#flushSoon();
  }

  /** What waits for the end of the turn leaves now, if it can. */
  flush(): void {
    const outlet = this.#outlet;
    if (this.#state !== 'open' || outlet === undefined || this.#streaming !== undefined) return;
    if (outlet.writing) return;
    const batch = this.#queue.take(this.#parts.limits.writeBytes);
    if (batch.length > 0) outlet.write(batch, () => this.flush());
  }

  /**
   * Sends a snapshot; other messages wait for its end, of each kind the newest.
   * Resolves to whether it left whole; at most one at a time.
   */
  async sendSnapshot(header: InstallSnapshotHeader, data: SnapshotData): Promise<boolean> {
    if (this.#streaming !== undefined || this.#state === 'closed') return false;
    const streaming = { term: header.term };
    this.#streaming = streaming;
    this.#queue.keepNewest();
    this.#queue.holding = true;
    const outlet = await this.#opened();
    const whole = outlet !== undefined && (await this.#stream(outlet, header, data));
    this.#streaming = undefined;
    this.#queue.holding = this.#state === 'waiting';
    const { restoreTimeoutMs, silenceTimeoutMs } = this.#parts.limits;
    if (whole) this.#askedAt = this.#parts.clock.now() + restoreTimeoutMs - silenceTimeoutMs;
    this.flush();
    return whole;
  }

  /** Breaks the link when it carries a snapshot: there is no other way to end one early. */
  abandonSnapshot(): void {
    if (this.#streaming === undefined) return;
    if (this.#state === 'open') this.#outlet?.fail(new Error('snapshot no longer wanted'));
    else this.#decide(undefined);
  }

  /** The peer is now dialled at this address. */
  moveTo(address: string): void {
    if (address === this.#address) return;
    this.#address = address;
    this.#failures = 0;
    if (this.#outlet !== undefined) this.#lost(this.#outlet, new Error('address changed'));
    if (this.#state === 'waiting') this.#connect();
  }

  /** Something came from this peer: it is alive. */
  heard(): void {
    this.#askedAt = undefined;
  }

  /** The peer dialled us anew: it may have lost this link too, without a sign that we could see. */
  suspect(): void {
    const age = this.#parts.clock.now() - this.#openedAt;
    if (this.#state !== 'open' || this.#streaming !== undefined) return;
    // A young link is the answer to the same trouble: without this rule two servers would redial forever.
    if (age < 3 * this.#parts.limits.stableAfterMs || this.#outlet === undefined) return;
    this.#lost(this.#outlet, new Error('peer dialled anew'));
  }

  close(): void {
    this.#state = 'closed';
    this.#timer?.cancel();
    this.#queue.clear();
    const outlet = this.#outlet;
    this.#outlet = undefined;
    outlet?.destroy();
    this.#decide(undefined);
  }

  #connect(): void {
    const { dial, limits, clock } = this.#parts;
    this.#state = 'connecting';
    this.#queue.holding = this.#streaming !== undefined;
    this.#timer?.cancel();
    let outlet: PeerOutlet;
    try {
      outlet = new PeerOutlet(dial(this.#address), limits, clock, {
        opened: () => this.#open(outlet),
        failed: (error) => this.#lost(outlet, error),
        silentSince: () => (this.#streaming === undefined ? this.#askedAt : undefined),
      });
    } catch (error) {
      this.#retryLater(error as Error);
      return;
    }
    this.#outlet = outlet;
    this.#timer = clock.after(limits.connectTimeoutMs, () => {
      outlet.fail(new Error(`no connection within ${limits.connectTimeoutMs} ms`));
    });
  }

  #open(outlet: PeerOutlet): void {
    if (outlet !== this.#outlet) return;
    this.#timer?.cancel();
    this.#state = 'open';
    this.#openedAt = this.#parts.clock.now();
    if (this.#askedAt !== undefined) this.#askedAt = this.#openedAt;
    this.#logger.debug({ address: this.#address }, 'connected to peer');
    const { introduction, limits } = this.#parts;
    const first = this.#streaming === undefined ? this.#queue.take(limits.writeBytes) : [];
    outlet.write([introduction, ...first], () => this.flush());
    this.#decide(outlet);
  }

  /** A link that worked is dialled again at once, else after a pause that grows with each failure. */
  #lost(outlet: PeerOutlet, error: Error): void {
    if (outlet !== this.#outlet) return;
    const { clock, limits } = this.#parts;
    const wasOpen = this.#state === 'open';
    const wasStable = wasOpen && clock.now() - this.#openedAt >= limits.stableAfterMs;
    this.#timer?.cancel();
    this.#outlet = undefined;
    this.#askedAt = undefined;
    outlet.destroy();
    if (wasOpen)
      this.#logger.info({ address: this.#address, reason: error.message }, 'link to peer broke');
    if (!wasStable) {
      this.#retryLater(error);
      return;
    }
    this.#lastError = error;
    this.#failures = 0;
    this.#queue.keepNewest();
    this.#connect();
    this.#parts.unreachable(this.#id);
  }

  #retryLater(error: Error): void {
    const { clock, limits, random } = this.#parts;
    this.#state = 'waiting';
    this.#lastError = error;
    this.#queue.clear();
    this.#queue.holding = true;
    const longest = Math.min(limits.firstRetryMs * 2 ** this.#failures, limits.longestRetryMs);
    this.#failures = Math.min(this.#failures + 1, 16);
    const delayMs = random.int(Math.ceil(longest / 2), longest);
    this.#logger.debug(
      { address: this.#address, delayMs, reason: error.message },
      'cannot reach peer',
    );
    this.#timer?.cancel();
    this.#timer = clock.after(delayMs, () => this.#retry());
    this.#decide(undefined);
    this.#parts.unreachable(this.#id);
  }

  /** Dials only for the sake of a message: a server that left the cluster is not called forever. */
  #retry(): void {
    this.#state = 'idle';
    this.#queue.holding = this.#streaming !== undefined;
    if (this.#queue.length > 0 || this.#whenDecided.length > 0) this.#connect();
  }

  /** Everything that one turn of the event loop sends leaves in one write. */
  #flushSoon(): void {
    if (this.#scheduled || this.#state !== 'open') return;
    this.#scheduled = true;
    this.#parts.clock.nextTurn(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** The open link, or undefined when the attempt under way (or the next one) fails. */
  #opened(): Promise<PeerOutlet | undefined> {
    if (this.#state === 'open') return Promise.resolve(this.#outlet);
    return new Promise((resolve) => {
      this.#whenDecided.push(resolve);
      if (this.#state === 'idle') this.#connect();
    });
  }

  #decide(outlet: PeerOutlet | undefined): void {
    for (const resolve of this.#whenDecided.splice(0)) resolve(outlet);
  }

  async #stream(
    outlet: PeerOutlet,
    header: InstallSnapshotHeader,
    data: SnapshotData,
  ): Promise<boolean> {
    try {
      await outlet.writeWhole(Buffer.concat(encodePeerMessage(header)));
      let sent = 0;
      for await (const chunk of data.chunks()) {
        sent += chunk.length;
        assert(sent <= header.dataSize, 'a snapshot is longer than it said');
        await outlet.writeWhole(chunk);
      }
      assert(sent === header.dataSize, 'a snapshot is shorter than it said');
      return true;
    } catch (error) {
      // Whatever went wrong, the peer waits for bytes that will not come.
      this.#lost(outlet, error as Error);
      return false;
    }
  }
}
