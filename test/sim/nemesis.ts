import type { Random } from '../../src/base/random.ts';
import type { Host } from './host.ts';
import { type Misfortune, misfortunes } from './misfortunes.ts';
import type { Network } from './network.ts';
import type { Operators } from './operators.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What the nemesis works on. */
export interface NemesisParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: Network;
  readonly hosts: readonly Host[];
  readonly operators: Operators;
  /** A client reads at a host. */
  readonly probe: (host: Host) => void;
  /** T: the measure of everything it does. Milliseconds. */
  readonly electionTimeoutMs: number;
  readonly log: (line: () => string) => void;
}

/** Whatever can go wrong, and what operators do at the wrong moment; all by the random source. */
export class Nemesis {
  readonly operators: Operators;
  readonly #parts: NemesisParts;
  readonly #deck: Misfortune[] = [];
  /** How many of a hundred new leaders are struck as soon as they lead, and voters as soon as they vote. */
  readonly #huntPercent: number;
  readonly #votePercent: number;
  /** How many of a hundred changes of names on a disk meet a power cut. */
  readonly #namesPercent: number;
  /** How many of a hundred snapshots are struck while they are sent or received. */
  readonly #shipPercent: number;
  /** Longest time from one misfortune to the next. */
  readonly #pauseMs: number;
  #over = false;

  constructor(parts: NemesisParts) {
    this.operators = parts.operators;
    this.#parts = parts;
    this.#huntPercent = this.#happens(40) ? parts.random.int(20, 80) : 0;
    this.#pauseMs = parts.random.int(parts.electionTimeoutMs / 2, parts.electionTimeoutMs * 4);
    this.#votePercent = this.#happens(30) ? parts.random.int(5, 40) : 0;
    this.#namesPercent = this.#happens(40) ? parts.random.int(1, 8) : 0;
    this.#shipPercent = this.#happens(30) ? parts.random.int(10, 60) : 0;
    for (const { strike, weight } of Object.values(misfortunes)) {
      const count = weight * parts.random.int(0, 3);
      for (let at = 0; at < count; at++) this.#deck.push(strike);
    }
  }

  start(): void {
    const { clock, hosts, random } = this.#parts;
    clock.after(random.int(0, this.#pauseMs), () => {
      if (this.#over) return;
      const strike = this.#deck[random.int(0, this.#deck.length - 1)];
      const host = hosts[random.int(0, hosts.length - 1)];
      // Those that lead have most to lose.
      const leader = hosts.find((one) => one.life?.transition?.state === 'leader');
      const target = leader !== undefined && this.#happens(40) ? leader : host;
      if (target !== undefined) strike?.(this, target);
      this.start();
    });
  }

  /** Somebody has begun to lead. The first moments of a leadership are the dangerous ones. */
  elected(host: Host): void {
    if (this.#over || !this.#happens(this.#huntPercent)) return;
    const { clock, random } = this.#parts;
    clock.after(random.int(0, 250) / 10, () => {
      if (this.#over) return;
      const choice = random.int(0, 4);
      if (choice === 0) this.crash(host, 'power cut');
      else if (choice === 1) this.pause(host);
      else if (choice === 2) this.partition();
      else if (choice === 3) this.patch();
      else this.isolate(host);
    });
  }

  /** Somebody votes: its disk is about to store that, or has just done so. */
  voted(host: Host): void {
    if (this.#over || !this.#happens(this.#votePercent)) return;
    const { clock, random } = this.#parts;
    clock.after(random.int(0, 60) / 10, () => {
      if (!this.#over) this.crash(host, this.#happens(50) ? 'kill' : 'power cut');
    });
  }

  /** Files come, go and get other names in steps, and a crash may come between any two of them. */
  changingNames(host: Host, kind: string): void {
    const percent = this.#namesPercent * (kind === 'remove' ? 6 : 1);
    if (this.#over || percent === 0 || !this.#happens(percent)) return;
    const { clock, random } = this.#parts;
    const { run } = host;
    clock.after(random.int(0, 40) / 10, () => {
      if (!this.#over && host.run === run) this.crash(host, 'power cut');
    });
  }

  /** Somebody got a snapshot, and has yet to restore it: now it shall lead. */
  installing(host: Host): void {
    if (this.#over || !this.#happens(40)) return;
    const { clock, electionTimeoutMs, random } = this.#parts;
    clock.after(random.int(0, electionTimeoutMs), () => {
      const [leader] = this.operators.leaders;
      if (this.#over || leader === undefined || leader === host) return;
      if (this.#happens(30)) this.crash(leader, 'power cut');
      else this.operators.handOver(leader, host.id);
    });
  }

  /** A snapshot is on its way from or to this one. */
  shipping(host: Host): void {
    if (this.#over || !this.#happens(this.#shipPercent)) return;
    const { clock, electionTimeoutMs, random } = this.#parts;
    const { run } = host;
    clock.after(random.int(0, electionTimeoutMs * 2) / 4, () => {
      if (this.#over || host.run !== run) return;
      const choice = random.int(0, 4);
      if (choice <= 1) this.crash(host, 'power cut');
      else if (choice === 2) this.crash(host, 'kill');
      else if (choice === 3) this.pause(host);
      else this.isolate(host);
    });
  }

  /** No more of it: everything that was broken works again, and stays so. */
  heal(): void {
    const { hosts, network, log } = this.#parts;
    log(() => 'everything heals');
    this.#over = true;
    this.operators.stop();
    network.calm();
    for (const host of hosts) {
      host.disk.fault = undefined;
      host.disk.extraLatencyMs = 0;
      if (host.paused) host.paused = false;
      if (host.stalled) host.stalled = false;
      if (host.life === undefined) host.start();
    }
  }

  /** What a kill leaves is at the mercy of a power cut that follows. */
  crash(host: Host, how: 'power cut' | 'kill'): void {
    host.crash(how);
    this.startLater(host);
    if (how === 'power cut' || !this.#happens(30)) return;
    const { clock, electionTimeoutMs, random } = this.#parts;
    clock.after(random.int(0, electionTimeoutMs), () => {
      if (!this.#over) this.crash(host, 'power cut');
    });
  }

  crashAll(): void {
    for (const host of this.#parts.hosts) {
      host.crash('power cut');
      this.startLater(host);
    }
  }

  /** A supervisor restarts the process. */
  startLater(host: Host): void {
    const { clock, electionTimeoutMs, random } = this.#parts;
    const longestMs = this.#happens(40) ? 2 : electionTimeoutMs * (this.#happens(20) ? 8 : 1);
    clock.after(random.int(0, longestMs), () => {
      if (host.life === undefined) host.start();
    });
  }

  pause(host: Host): void {
    const { clock, electionTimeoutMs, random, log } = this.#parts;
    if (host.life === undefined || host.paused) return;
    const { run } = host;
    log(() => `${host.id} is paused`);
    host.paused = true;
    clock.after(random.int(1, electionTimeoutMs * 3), () => {
      if (host.run !== run || !host.paused) return;
      log(() => `${host.id} goes on`);
      host.paused = false;
    });
  }

  /** A long statement: clients wait, and Raft does not. */
  stall(host: Host): void {
    const { clock, electionTimeoutMs, random, log } = this.#parts;
    if (host.life === undefined || host.stalled || !host.hasThreads) return;
    const { run } = host;
    log(() => `${host.id} serves nobody`);
    const durationMs = random.int(1, electionTimeoutMs * (this.#happens(30) ? 12 : 4));
    // What clients ask meanwhile may be heard before what Raft says.
    if (this.#happens(50)) host.life.holdUp(durationMs + random.int(0, electionTimeoutMs));
    host.stalled = true;
    clock.after(durationMs, () => {
      if (host.run !== run || !host.stalled) return;
      log(() => `${host.id} serves again`);
      host.stalled = false;
    });
  }

  partition(): void {
    const { hosts, network, random, log } = this.#parts;
    network.heal();
    const sides = new Map(hosts.map((host) => [host.id, random.int(0, 1)]));
    const oneWay = this.#happens(25);
    for (const from of hosts) {
      for (const to of hosts) {
        const apart = sides.get(from.id) !== sides.get(to.id);
        if (apart && (!oneWay || sides.get(from.id) === 0)) network.cut(from.id, to.id);
      }
    }
    this.#mendLater();
    log(
      () =>
        `partition${oneWay ? ' in one direction' : ''}: ${hosts.map(({ id }) => sides.get(id))}`,
    );
  }

  isolate(host: Host): void {
    const { hosts, network, random, log } = this.#parts;
    const directions = random.int(0, 2);
    log(() => `${host.id} is cut off (${['both ways', 'hears nobody', 'not heard'][directions]})`);
    for (const other of hosts) {
      if (other === host) continue;
      if (directions !== 1) network.cut(host.id, other.id);
      if (directions !== 2) network.cut(other.id, host.id);
    }
    this.#mendLater();
  }

  /** Some reach some, in some direction. */
  patch(): void {
    const { hosts, network, random, log } = this.#parts;
    network.heal();
    const percent = random.int(10, 60);
    for (const from of hosts) {
      for (const to of hosts) {
        if (from !== to && this.#happens(percent)) network.cut(from.id, to.id);
      }
    }
    this.#mendLater();
    log(() => `of a hundred directions ${percent} are cut`);
  }

  /** Some directions take long. */
  slowNetwork(): void {
    const { electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const percent = random.int(10, 60);
    for (const from of hosts) {
      for (const to of hosts) {
        if (from === to || !this.#happens(percent)) continue;
        network.slow(from.id, to.id, random.int(1, electionTimeoutMs * 1.5));
      }
    }
    log(() => `of a hundred directions ${percent} are slow`);
    this.#mendLater();
  }

  mend(): void {
    this.#parts.log(() => 'the network is whole');
    this.#parts.network.heal();
  }

  breakLink(host: Host): void {
    const { hosts, network, random } = this.#parts;
    const other = hosts[random.int(0, hosts.length - 1)];
    if (other !== undefined && other !== host) network.breakLink(host.id, other.id);
  }

  slowDisk(host: Host): void {
    const { clock, random, electionTimeoutMs, log } = this.#parts;
    host.disk.extraLatencyMs = random.int(1, electionTimeoutMs);
    log(() => `the disk of ${host.id} is slow by ${host.disk.extraLatencyMs} ms`);
    clock.after(random.int(0, electionTimeoutMs * 4), () => {
      host.disk.extraLatencyMs = 0;
    });
  }

  breakDisk(host: Host): void {
    const { clock, electionTimeoutMs, random, log } = this.#parts;
    if (host.life === undefined) return;
    host.disk.fault = random.int(0, 1) === 0 ? 'broken' : 'full';
    log(() => `the disk of ${host.id} is ${host.disk.fault}`);
    clock.after(random.int(0, electionTimeoutMs * 4), () => {
      host.disk.fault = undefined;
    });
  }

  /** Most cuts do not last: else little would ever be committed. */
  #mendLater(): void {
    const { clock, electionTimeoutMs, random } = this.#parts;
    if (this.#happens(20)) return;
    clock.after(random.int(0, electionTimeoutMs * 5), () => {
      if (!this.#over) this.mend();
    });
  }

  /** The old leader is the last to hear of the new one. */
  transferInTheDark(): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const [leader] = this.operators.leaders;
    this.operators.transfer();
    clock.after(random.int(0, 100) / 10, () => {
      if (this.#over || leader === undefined) return;
      log(() => `${leader.id} hears nobody`);
      for (const other of hosts) {
        if (other !== leader) network.cut(other.id, leader.id);
      }
      this.#mendLater();
      this.#probe(leader, 3 * electionTimeoutMs);
    });
  }

  /** What the others say to the old leader comes late: what they said while they still followed, and that they do no more. */
  lateTransfer(): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const [leader] = this.operators.leaders;
    if (leader === undefined) return;
    const byMs = random.int(electionTimeoutMs / 4, electionTimeoutMs * 0.8);
    log(() => `${leader.id} hears everybody late by ${byMs} ms`);
    for (const other of hosts) {
      if (other !== leader) network.slow(other.id, leader.id, byMs);
    }
    this.#mendLater();
    clock.after(random.int(0, electionTimeoutMs), () => {
      if (this.#over) return;
      this.operators.handOver(leader, undefined);
      this.#probe(leader, 3 * electionTimeoutMs);
    });
  }

  /** Whoever may be deposed is read from, again and again. */
  #probe(host: Host, forMs: number): void {
    const { clock, probe, random } = this.#parts;
    if (this.#over || forMs <= 0) return;
    const pauseMs = random.int(1, 20);
    clock.after(pauseMs, () => {
      probe(host);
      this.#probe(host, forMs - pauseMs);
    });
  }

  /** A write that the others have stored before the leader has, and one behind it: the transfer is the third. */
  transferWithWrite(): void {
    const [leader] = this.operators.leaders;
    if (leader !== undefined && this.#happens(70)) this.slowDisk(leader);
    this.operators.transferWithNextWrite();
  }

  /** The thread that serves clients is the last to hear that leadership was gone and is back. */
  transferThereAndBack(): void {
    const { clock, electionTimeoutMs, hosts, random, log } = this.#parts;
    const [leader] = this.operators.leaders;
    this.operators.transfer();
    clock.after(random.int(0, 100) / 100, () => {
      if (this.#over || leader === undefined) return;
      log(() => `${leader.id} does not hear what Raft says`);
      leader.life?.holdUp(random.int(1, 3 * electionTimeoutMs));
      this.#probe(leader, 3 * electionTimeoutMs);
    });
    clock.after(random.int(5, electionTimeoutMs), () => {
      const successor = hosts.find(({ life }) => life?.transition?.ready === true);
      if (this.#over || leader === undefined || successor === undefined) return;
      if (successor !== leader) this.operators.handOver(successor, leader.id);
    });
  }

  /** The same without anybody's asking: clients write where the loss of leadership was not heard of. */
  loseAndRegain(): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    const [leader] = this.operators.leaders;
    if (leader?.life === undefined || !leader.hasThreads) return;
    log(() => `${leader.id} is not heard, and does not hear what Raft says`);
    leader.life.holdUp(random.int(3 * electionTimeoutMs, 7 * electionTimeoutMs));
    for (const other of hosts) {
      if (other !== leader) network.cut(leader.id, other.id);
    }
    clock.after(random.int(electionTimeoutMs, 4 * electionTimeoutMs), () => {
      if (this.#over) return;
      this.mend();
      const successor = hosts.find(({ id, life }) => life?.transition?.ready && id !== leader.id);
      if (successor !== undefined) this.operators.handOver(successor, leader.id);
    });
    this.#probe(leader, 7 * electionTimeoutMs);
  }

  #happens(percent: number): boolean {
    return this.#parts.random.int(0, 99) < percent;
  }
}
