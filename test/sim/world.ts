import { type Random, seededRandom } from '../../src/base/random.ts';
import { describeEffects, describeEntry } from '../../src/raft/describe.ts';
import type { Applied, Persist } from '../../src/raft/events.ts';
import { type RaftOptions, raftOptions } from '../../src/raft/options.ts';
import type { Configuration, Role, ServerId, SnapshotMeta } from '../../src/raft/types.ts';
import { sameChain } from './chain.ts';
import { Checkers, Violation } from './checkers.ts';
import { FaultyDisk } from './faulty-disk.ts';
import { directory, Host } from './host.ts';
import { HostClock } from './host-clock.ts';
import { Nemesis } from './nemesis.ts';
import { Network, type NetworkOptions } from './network.ts';
import { RegisterClients } from './register-clients.ts';
import { RegisterMachine } from './register-machine.ts';
import type { Surroundings } from './surroundings.ts';
import { Trace } from './trace.ts';
import { takeTurns } from './turns.ts';
import { VirtualClock } from './virtual-clock.ts';

/** T. Everything else is measured by it. */
const electionTimeoutMs = 100;
/** How long things go wrong, and how long the cluster may take to recover from it. */
const faultyMs = 2000;
const recoveryMs = 40 * electionTimeoutMs;

/** What a run was worth. */
export interface Summary {
  readonly events: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly leaders: number;
  readonly hash: number;
}

/**
 * A whole cluster on a virtual clock: real Raft, driver and storage on disks that forget, over a network that loses,
 * with clients, operators and misfortune. Everything follows from the seed.
 */
export class World implements Surroundings {
  readonly checkers = new Checkers();
  readonly trace: Trace;
  readonly #clock = new VirtualClock();
  readonly #random: Random;
  readonly #network: Network;
  readonly #hosts: readonly Host<RegisterMachine>[];
  readonly #clients: RegisterClients;
  readonly #nemesis: Nemesis;
  #failure: { readonly error: unknown } | undefined;

  /** @param keep how many lines of the trace to keep */
  constructor(seed: number, keep: number) {
    this.#random = seededRandom(seed);
    this.trace = new Trace(keep);
    const log = (id: ServerId, line: () => string) => this.log(id, line);
    const clock = this.#clock;
    this.#network = new Network(clock, this.#fork(), networkOptions(this.#random), log);
    this.#hosts = this.#createHosts();
    for (const host of this.#hosts) this.#network.attach(host);
    this.#clients = new RegisterClients(clock, this.#fork(), this.#clientOptions(), this.#hosts);
    this.#nemesis = new Nemesis({
      clock,
      random: this.#fork(),
      network: this.#network,
      hosts: this.#hosts,
      electionTimeoutMs,
      log: (line) => this.trace.add(clock.now(), '-', line),
    });
  }

  /** Runs it all: with faults, then without, until everybody agrees. Rejects when a property does not hold. */
  async run(): Promise<Summary> {
    for (const host of this.#hosts) host.start();
    this.#clients.start();
    this.#nemesis.start();
    await this.#runUntil(faultyMs, () => false);
    this.#nemesis.heal();
    this.#clients.calm();
    const acknowledged = this.#clients.acknowledged + 3;
    await this.#runUntil(faultyMs + recoveryMs, () => {
      return this.#clients.acknowledged >= acknowledged && this.#trouble() === undefined;
    });
    const trouble = this.#trouble();
    if (trouble !== undefined) throw new Violation(`after healing ${trouble}`);
    if (this.#clients.acknowledged < acknowledged) throw new Violation('no writes after healing');
    const wrong = this.#clients.check();
    if (wrong.length > 0) throw new Violation(wrong.join(', '));
    return this.summary;
  }

  get summary(): Summary {
    return {
      events: this.trace.count,
      committed: this.checkers.committedIndex,
      acknowledged: this.#clients.acknowledged,
      reads: this.#clients.reads,
      leaders: this.checkers.leaders,
      hash: this.trace.hash,
    };
  }

  log(id: ServerId, line: () => string): void {
    this.trace.add(this.#clock.now(), `${id}`, line);
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  fatal(id: ServerId, error: unknown): void {
    const host = this.#hosts.find((one) => one.id === id);
    if (host === undefined || !isDeviceFault(error)) return this.fail(error);
    this.log(id, () => `stops: ${String(error)}`);
    host.disk.fault = undefined;
    this.#nemesis.crash(host, this.#random.int(0, 1) === 0 ? 'kill' : 'power cut');
  }

  started(id: ServerId): void {
    this.log(id, () => 'takes part');
  }

  persisting(id: ServerId, write: Persist): void {
    this.log(id, () => describeEffects({ ...noEffects, persist: write }).join('; '));
  }

  applying(id: ServerId, entries: readonly Applied[]): void {
    this.log(id, () => `applies ${entries.map(({ entry }) => describeEntry(entry)).join(', ')}`);
  }

  restored(id: ServerId, meta: SnapshotMeta): void {
    const machine = this.#hosts.find((host) => host.id === id)?.life?.machine;
    const committed = this.checkers.committedChain(meta.index);
    this.log(id, () => `is in the state of ${meta.index}`);
    if (machine === undefined || machine.index > meta.index) return;
    if (committed === undefined || !sameChain(machine.chain, committed)) {
      throw new Violation(`${id} restored another state than that of ${meta.index}`);
    }
  }

  async #runUntil(endMs: number, done: () => boolean): Promise<void> {
    let events = 0;
    await takeTurns(() => {
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#checkLeases();
      if (++events % 64 === 0 && done()) return false;
      return this.#clock.runNext(endMs);
    });
  }

  /** Whoever holds a lease may be read from: it has applied everything acknowledged anywhere. */
  #checkLeases(): void {
    for (const { clock, id, life } of this.#hosts) {
      if (life === undefined || clock.paused || clock.now() >= life.driver.leaseUntil) continue;
      if (life.machine.index < this.checkers.acknowledgedIndex) {
        throw new Violation(
          `the lease of ${id} at ${life.machine.index} misses ${this.checkers.acknowledgedIndex}`,
        );
      }
    }
  }

  /** What is not yet as it must be after healing. */
  #trouble(): string | undefined {
    const leader = this.#hosts.find(({ life }) => life?.machine.leadingTerm !== undefined);
    const machine = leader?.life?.machine;
    if (machine === undefined) return 'nobody leads';
    const configuration = leader?.life?.driver.transition?.configuration;
    for (const { id, role } of configuration?.servers ?? []) {
      const other = this.#hosts.find((host) => host.id === id)?.life?.machine;
      if (role === 'spare' || other === machine) continue;
      if (other?.index !== machine.index) return `${id} is at ${other?.index}, not ${machine.index}`;
      if (other.image !== machine.image) throw new Violation(`${id} holds other registers`);
    }
    return undefined;
  }

  #createHosts(): Host<RegisterMachine>[] {
    const count = this.#random.int(1, 5);
    const founders = this.#happens(15) ? 1 : count;
    const members: Configuration = {
      servers: Array.from({ length: founders }, (_, at) => ({
        id: idOf(at + 1),
        address: addressOf(at + 1),
        role: at < 3 || this.#happens(60) ? ('voter' as Role) : ('standby' as Role),
      })),
    };
    const segmentBytes = 4096 * this.#random.int(1, 4);
    return Array.from({ length: count + (this.#happens(50) ? 1 : 0) }, (_, at) => {
      const clock = new HostClock(
        this.#clock,
        1 + this.#random.int(-30, 30) / 1000,
        this.#random.int(0, 1000),
      );
      const random = this.#fork();
      return new Host({
        options: this.#raftOptions(idOf(at + 1)),
        address: addressOf(at + 1),
        clock,
        disk: new FaultyDisk(clock, random, {
          directories: [directory],
          minLatencyMs: 0,
          maxLatencyMs: this.#happens(15) ? 10 : 2,
        }),
        random: this.#fork(),
        network: this.#network,
        around: this,
        members: at < founders ? members : undefined,
        segmentBytes,
        createMachine: () => new RegisterMachine(),
      });
    });
  }

  #raftOptions(id: ServerId): RaftOptions {
    return raftOptions({
      id,
      electionTimeoutMs,
      heartbeatMs: 20,
      leaseMarginMs: 10,
      snapshotThreshold: this.#random.int(5, 60),
      snapshotTrailing: this.#random.int(0, 40),
      snapshotTimeoutMs: 200,
      maxMessageBytes: this.#random.int(8, 200),
      maxMessageEntries: this.#random.int(1, 10),
      maxInflightMessages: this.#random.int(1, 8),
      maxCatchUpRoundMs: 500,
    });
  }

  #clientOptions() {
    return {
      clients: this.#random.int(1, 4),
      registers: this.#random.int(1, 4),
      maxThinkMs: this.#random.int(5, 40),
      timeoutMs: 3 * electionTimeoutMs,
      readPercent: this.#random.int(20, 70),
      lossPercent: this.#random.int(0, 4),
    };
  }

  /** A source of its own: what one part draws does not shift what the others draw. */
  #fork(): Random {
    return seededRandom(this.#random.int(0, 0x7fffffff));
  }

  #happens(percent: number): boolean {
    return this.#random.int(0, 99) < percent;
  }
}

function networkOptions(random: Random): NetworkOptions {
  return {
    kind: random.int(0, 1) === 0 ? 'links' : 'datagrams',
    lossPercent: random.int(0, 2) === 0 ? 0 : random.int(1, 10),
    duplicatePercent: random.int(0, 5),
    slowPercent: random.int(0, 5),
    slowMs: 3 * electionTimeoutMs,
    maxDelayMs: random.int(1, 8),
  };
}

/** An error of the kind that the nemesis makes disks answer. */
function isDeviceFault(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'EIO' || code === 'DQL_NO_SPACE';
}

function idOf(number: number): ServerId {
  return BigInt(number) as ServerId;
}

function addressOf(number: number): string {
  return `host${number}:9001`;
}

const noEffects = {
  persist: undefined,
  send: [],
  restore: undefined,
  discard: undefined,
  apply: [],
  settle: [],
  takeSnapshot: undefined,
  shipSnapshot: undefined,
  transition: undefined,
  ignored: undefined,
} as const;
