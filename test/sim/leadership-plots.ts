import type { Host } from './host.ts';
import type { Nemesis, NemesisParts } from './nemesis.ts';

/** What takes several steps: somebody leads, and leads no more, and somebody there does not know. */
export class LeadershipPlots {
  readonly #parts: NemesisParts;
  readonly #nemesis: Nemesis;

  constructor(parts: NemesisParts, nemesis: Nemesis) {
    this.#parts = parts;
    this.#nemesis = nemesis;
  }

  /** The old leader is the last to hear of the new one. */
  transferInTheDark(): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const [leader] = this.#parts.operators.leaders;
    this.#parts.operators.transfer();
    clock.after(random.int(0, 100) / 10, () => {
      if (this.#nemesis.over || leader === undefined) return;
      log(() => `${leader.id} hears nobody`);
      for (const other of hosts) {
        if (other !== leader) network.cut(other.id, leader.id);
      }
      this.#nemesis.mendLater();
      this.#probe(leader, 3 * electionTimeoutMs);
    });
  }

  /** What the others say to the old leader comes late: what they said while they still followed, and that they do no more. */
  lateTransfer(): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const [leader] = this.#parts.operators.leaders;
    if (leader === undefined) return;
    const byMs = random.int(electionTimeoutMs / 4, electionTimeoutMs * 0.8);
    log(() => `${leader.id} hears everybody late by ${byMs} ms`);
    for (const other of hosts) {
      if (other !== leader) network.slow(other.id, leader.id, byMs);
    }
    this.#nemesis.mendLater();
    clock.after(random.int(0, electionTimeoutMs), () => {
      if (this.#nemesis.over) return;
      this.#parts.operators.handOver(leader, undefined);
      this.#probe(leader, 3 * electionTimeoutMs);
    });
  }

  /** A write that the others have stored before the leader has, and one behind it: the transfer is the third. */
  transferWithWrite(): void {
    const [leader] = this.#parts.operators.leaders;
    if (leader !== undefined && this.#parts.random.int(0, 99) < 70) this.#nemesis.slowDisk(leader);
    this.#parts.operators.transferWithNextWrite();
  }

  /** The thread that serves clients is the last to hear that leadership was gone and is back. */
  transferThereAndBack(): void {
    const { clock, electionTimeoutMs, hosts, random, log } = this.#parts;
    const [leader] = this.#parts.operators.leaders;
    this.#parts.operators.transfer();
    clock.after(random.int(0, 100) / 100, () => {
      if (this.#nemesis.over || leader === undefined) return;
      log(() => `${leader.id} does not hear what Raft says`);
      leader.life?.holdUp(random.int(1, 6 * electionTimeoutMs));
      this.#probe(leader, 6 * electionTimeoutMs);
    });
    clock.after(random.int(5, electionTimeoutMs), () => {
      const successor = hosts.find(({ life }) => life?.transition?.ready === true);
      if (this.#nemesis.over || leader === undefined || successor === undefined) return;
      if (successor !== leader) this.#parts.operators.handOver(successor, leader.id);
    });
  }

  /** The same without anybody's asking: clients write where the loss of leadership was not heard of. */
  loseAndRegain(): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const [leader] = this.#parts.operators.leaders;
    if (leader?.life === undefined || !leader.hasThreads) return;
    log(() => `${leader.id} is not heard, and does not hear what Raft says`);
    leader.life.holdUp(random.int(3 * electionTimeoutMs, 7 * electionTimeoutMs));
    for (const other of hosts) {
      if (other !== leader) network.cut(leader.id, other.id);
    }
    clock.after(random.int(electionTimeoutMs, 4 * electionTimeoutMs), () => {
      if (this.#nemesis.over) return;
      this.#nemesis.mend();
      const successor = hosts.find(({ id, life }) => life?.transition?.ready && id !== leader.id);
      if (successor !== undefined) this.#parts.operators.handOver(successor, leader.id);
    });
    this.#probe(leader, 7 * electionTimeoutMs);
  }

  /** Whoever may be deposed is read from, again and again. */
  #probe(host: Host, forMs: number): void {
    const { clock, probe, random } = this.#parts;
    if (this.#nemesis.over || forMs <= 0) return;
    const pauseMs = random.int(1, 20);
    clock.after(pauseMs, () => {
      probe(host);
      this.#probe(host, forMs - pauseMs);
    });
  }
}
