import type { Random } from '../../src/base/random.ts';
import type { Host } from './host.ts';
import { LeadershipPlots } from './leadership-plots.ts';
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
  readonly plots: LeadershipPlots;
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
    this.plots = new LeadershipPlots(parts, this);
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

  /** Everything has healed. */
  get over(): boolean {
    return this.#over;
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

  /** Somebody got a snapshot, and has yet to restore it: now it shall lead, or need the next one. */
  installing(host: Host): void {
    if (this.#over || !this.#happens(70)) return;
    if (this.#happens(50)) {
      this.leaveBehind(host);
      return;
    }
    const { clock, electionTimeoutMs, random } = this.#parts;
    clock.after(random.int(0, electionTimeoutMs), () => {
      const [leader] = this.operators.leaders;
      if (this.#over || leader === undefined || leader === host) return;
      if (this.#happens(30)) this.crash(leader, 'power cut');
      else this.operators.handOver(leader, host.id);
    });
  }

  /** It misses more than the others keep in their logs. */
  leaveBehind(host: Host): void {
    const { clock, electionTimeoutMs, hosts, network, random, log } = this.#parts;
    log(() => `${host.id} is left behind`);
    for (const other of hosts) {
      if (other !== host) network.cut(other.id, host.id);
    }
    clock.after(random.int(electionTimeoutMs / 2, electionTimeoutMs * 3), () => {
      if (!this.#over) this.mend();
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
    this.mendLater();
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
    this.mendLater();
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
    this.mendLater();
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
    this.mendLater();
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
  mendLater(): void {
    const { clock, electionTimeoutMs, random } = this.#parts;
    if (this.#happens(20)) return;
    clock.after(random.int(0, electionTimeoutMs * 5), () => {
      if (!this.#over) this.mend();
    });
  }

  #happens(percent: number): boolean {
    return this.#parts.random.int(0, 99) < percent;
  }
}
