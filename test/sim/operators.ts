import { DqliteError } from '../../src/base/errors.ts';
import type { Random } from '../../src/base/random.ts';
import type { Change } from '../../src/raft/events.ts';
import type { Role, ServerId } from '../../src/raft/types.ts';
import type { Host } from './host.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What operators work on. */
export interface OperatorParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly hosts: readonly Host[];
  readonly log: (line: () => string) => void;
}

/** They change the members and hand leadership over, and remember what they were not answered. */
export class Operators {
  readonly #parts: OperatorParts;
  /** What was asked of a process and is not answered. */
  readonly #unanswered = new Set<{ host: Host; run: number; what: string }>();
  #nextWriteOn: Host | undefined;
  #changes = 0;
  #transfers = 0;
  #over = false;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /** Changes of the members that were answered with success. */
  get changes(): number {
    return this.#changes;
  }

  /** Transfers of leadership that were answered with success. */
  get transfers(): number {
    return this.#transfers;
  }

  /** They ask nothing more. */
  stop(): void {
    this.#over = true;
  }

  /** Something that a process was asked, has not answered, and still could. */
  get unanswered(): string | undefined {
    for (const { host, run, what } of this.#unanswered) {
      if (host.run === run) return `${host.id} does not answer: ${what}`;
    }
    return undefined;
  }

  /** Whoever believes that it leads. */
  get leaders(): Host[] {
    return this.#parts.hosts.filter(
      (host) => !host.paused && host.life?.consensus.transition.state === 'leader',
    );
  }

  /** One or several changes in a hurry. */
  changeMembers(): void {
    const { clock, random } = this.#parts;
    const count = this.#happens(40) ? random.int(2, 4) : 1;
    for (let at = 0; at < count; at++) {
      clock.after(random.int(0, 10 * at), () => {
        if (!this.#over) this.#change();
      });
    }
  }

  #change(): void {
    const { hosts, random } = this.#parts;
    const target = hosts[random.int(0, hosts.length - 1)];
    if (target === undefined) return;
    for (const leader of this.leaders) {
      const consensus = leader.life?.consensus;
      if (consensus === undefined) continue;
      const { servers } = consensus.transition.configuration;
      const role = servers.find(({ id }) => id === target.id)?.role;
      // Mostly what can succeed, sometimes what must be refused.
      const change = this.#happens(70) ? this.#sensible(target, role) : this.#anything(target);
      const what = `${change.kind} ${target.id}${change.kind === 'assign' ? ` ${change.role}` : ''}`;
      this.#ask(leader, what, consensus.change(change), () => this.#changes++);
    }
  }

  #sensible({ id, address }: Host, role: Role | undefined): Change {
    if (role === undefined) return { kind: 'add', id, address };
    if (role !== 'voter') return { kind: 'assign', id, role: 'voter' };
    if (this.#happens(40)) return { kind: 'remove', id };
    return { kind: 'assign', id, role: this.#happens(50) ? 'standby' : 'spare' };
  }

  #anything({ id, address }: Host): Change {
    const roles: readonly Role[] = ['voter', 'standby', 'spare'];
    const role = roles[this.#parts.random.int(0, 2)] ?? 'voter';
    const changes: readonly Change[] = [
      { kind: 'add', id, address },
      { kind: 'assign', id, role },
      { kind: 'remove', id },
    ];
    return changes[this.#parts.random.int(0, 2)] ?? { kind: 'remove', id };
  }

  transfer(): void {
    const { hosts, random } = this.#parts;
    for (const leader of this.leaders) {
      const { servers } = leader.life?.consensus.transition.configuration ?? { servers: [] };
      const voters = servers.filter(({ id, role }) => role === 'voter' && id !== leader.id);
      // Mostly what can succeed, sometimes what must be refused.
      const candidates = voters.length > 0 && this.#happens(80) ? voters : hosts;
      const to = candidates[random.int(0, candidates.length - 1)]?.id;
      this.handOver(leader, this.#happens(30) ? undefined : to);
    }
  }

  /** Leadership is to be handed over in the very turn in which the next write is proposed. */
  transferWithNextWrite(): void {
    [this.#nextWriteOn] = this.leaders;
  }

  /** A command is on its way to Raft. */
  proposing(host: Host): void {
    if (this.#nextWriteOn !== host) return;
    this.#nextWriteOn = undefined;
    // Whoever proposes must come to know its ticket first.
    queueMicrotask(() => {
      if (!this.#over) this.handOver(host, undefined);
    });
  }

  /** @param to undefined: to anyone */
  handOver(leader: Host, to: ServerId | undefined): void {
    const transfer = leader.life?.consensus.transfer(to);
    if (transfer === undefined) return;
    this.#ask(leader, `hand over to ${to ?? 'anyone'}`, transfer, () => this.#transfers++);
  }

  #ask(host: Host, what: string, promise: Promise<void>, done: () => void): void {
    const { log } = this.#parts;
    log(() => `${host.id} is asked: ${what}`);
    const asked = { host, run: host.run, what };
    this.#unanswered.add(asked);
    const answered = (error: unknown) => {
      this.#unanswered.delete(asked);
      log(() => `${host.id} answers: ${what}: ${error ?? 'done'}`);
      if (error === undefined) done();
      else if (!(error instanceof DqliteError)) throw error;
    };
    promise.then(() => answered(undefined), answered);
  }

  #happens(percent: number): boolean {
    return this.#parts.random.int(0, 99) < percent;
  }
}
