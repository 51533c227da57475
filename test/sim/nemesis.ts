import type { Random } from '../../src/base/random.ts';
import type { Change } from '../../src/raft/events.ts';
import type { Role, ServerId } from '../../src/raft/types.ts';
import type { Host } from './host.ts';
import type { Network } from './network.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What the nemesis works on. */
export interface NemesisParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: Network;
  readonly hosts: readonly Host[];
  /** T: the measure of everything it does. Milliseconds. */
  readonly electionTimeoutMs: number;
  readonly log: (line: () => string) => void;
}

type Misfortune = (nemesis: Nemesis, host: Host) => void;

/** Everything that may happen, and how often beside the others. Each seed leaves some of it out. */
const misfortunes: Readonly<Record<string, { readonly weight: number; readonly strike: Misfortune }>> =
  {
    'power cut': { weight: 3, strike: (nemesis, host) => nemesis.crash(host, 'power cut') },
    kill: { weight: 2, strike: (nemesis, host) => nemesis.crash(host, 'kill') },
    'all power cut': { weight: 1, strike: (nemesis) => nemesis.crashAll() },
    pause: { weight: 3, strike: (nemesis, host) => nemesis.pause(host) },
    partition: { weight: 3, strike: (nemesis) => nemesis.partition() },
    isolation: { weight: 3, strike: (nemesis, host) => nemesis.isolate(host) },
    mending: { weight: 3, strike: (nemesis) => nemesis.mend() },
    'broken link': { weight: 3, strike: (nemesis, host) => nemesis.breakLink(host) },
    'slow disk': { weight: 2, strike: (nemesis, host) => nemesis.slowDisk(host) },
    'broken disk': { weight: 1, strike: (nemesis, host) => nemesis.breakDisk(host) },
    change: { weight: 4, strike: (nemesis) => nemesis.change() },
    transfer: { weight: 3, strike: (nemesis) => nemesis.transfer() },
  };

/** Whatever can go wrong, and what operators do at the wrong moment; all by the random source. */
export class Nemesis {
  readonly #parts: NemesisParts;
  readonly #deck: Misfortune[] = [];
  #over = false;
  #ticket = 1_000_000;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
    for (const { strike, weight } of Object.values(misfortunes)) {
      if (this.#happens(25)) continue;
      for (let count = 0; count < weight; count++) this.#deck.push(strike);
    }
  }

  start(): void {
    const { clock, electionTimeoutMs, hosts, random } = this.#parts;
    clock.after(random.int(0, electionTimeoutMs * 1.5), () => {
      if (this.#over) return;
      const strike = this.#deck[random.int(0, this.#deck.length - 1)];
      const host = hosts[random.int(0, hosts.length - 1)];
      // Those that lead have most to lose.
      const leader = hosts.find((one) => one.life?.driver.transition?.state === 'leader');
      const target = leader !== undefined && this.#happens(40) ? leader : host;
      if (target !== undefined) strike?.(this, target);
      this.start();
    });
  }

  /** No more of it: everything that was broken works again, and stays so. */
  heal(): void {
    const { hosts, network, log } = this.#parts;
    log(() => 'everything heals');
    this.#over = true;
    network.calm();
    for (const host of hosts) {
      host.disk.fault = undefined;
      host.disk.extraLatencyMs = 0;
      if (host.clock.paused) host.clock.resume();
      if (host.life === undefined) host.start();
    }
  }

  crash(host: Host, how: 'power cut' | 'kill'): void {
    host.crash(how);
    this.startLater(host);
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
    const long = this.#happens(20) ? 8 : 1;
    clock.after(random.int(0, electionTimeoutMs * long), () => {
      if (host.life === undefined) host.start();
    });
  }

  pause(host: Host): void {
    const { clock, electionTimeoutMs, random, log } = this.#parts;
    if (host.life === undefined || host.clock.paused) return;
    const { run } = host;
    log(() => `${host.id} is paused`);
    host.clock.pause();
    clock.after(random.int(1, electionTimeoutMs * 3), () => {
      if (host.run !== run || !host.clock.paused) return;
      log(() => `${host.id} goes on`);
      host.clock.resume();
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
    log(() => `partition${oneWay ? ' in one direction' : ''}: ${hosts.map(({ id }) => sides.get(id))}`);
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
    const { random, log } = this.#parts;
    if (host.life === undefined) return;
    host.disk.fault = random.int(0, 1) === 0 ? 'broken' : 'full';
    log(() => `the disk of ${host.id} is ${host.disk.fault}`);
  }

  change(): void {
    const { hosts, random, log } = this.#parts;
    const target = hosts[random.int(0, hosts.length - 1)];
    if (target === undefined) return;
    const roles: readonly Role[] = ['voter', 'voter', 'standby', 'spare'];
    const { id, address } = target;
    const changes: readonly Change[] = [
      { kind: 'add', id, address },
      { kind: 'assign', id, role: roles[random.int(0, 3)] ?? 'voter' },
      { kind: 'assign', id, role: 'voter' },
      { kind: 'remove', id },
    ];
    const change = changes[random.int(0, changes.length - 1)];
    for (const leader of this.#leaders()) {
      if (change === undefined) continue;
      log(() => `${leader.id} is asked to ${change.kind} ${id}`);
      leader.life?.driver.change(++this.#ticket, change);
    }
  }

  transfer(): void {
    const { hosts, random, log } = this.#parts;
    const to: ServerId | undefined = this.#happens(50)
      ? undefined
      : hosts[random.int(0, hosts.length - 1)]?.id;
    for (const leader of this.#leaders()) {
      log(() => `${leader.id} is asked to hand over to ${to ?? 'anyone'}`);
      leader.life?.driver.transfer(++this.#ticket, to);
    }
  }

  #leaders(): Host[] {
    return this.#parts.hosts.filter(
      (host) => !host.clock.paused && host.life?.driver.transition?.state === 'leader',
    );
  }

  #happens(percent: number): boolean {
    return this.#parts.random.int(0, 99) < percent;
  }
}
