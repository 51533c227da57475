import { type Random, seededRandom } from '../../src/base/random.ts';
import { describeEffects, describeEntry } from '../../src/raft/describe.ts';
import type { Applied, Persist } from '../../src/raft/events.ts';
import type { ServerId, SnapshotMeta } from '../../src/raft/types.ts';
import { emptyChain, sameChain } from './chain.ts';
import { Checkers } from './checkers.ts';
import { FaultyDisk } from './faulty-disk.ts';
import { directory, Host } from './host.ts';
import { HostClock } from './host-clock.ts';
import { MessageNetwork } from './message-network.ts';
import { Nemesis } from './nemesis.ts';
import type { Network } from './network.ts';
import { Operators } from './operators.ts';
import { RegisterClients } from './register-clients.ts';
import { RegisterMachine } from './register-machine.ts';
import type { Clients, Service } from './service.ts';
import { SocketNetwork } from './socket-network.ts';
import { SqlClients } from './sql-clients.ts';
import { SqlService } from './sql-service.ts';
import type { Surroundings } from './surroundings.ts';
import { Trace } from './trace.ts';
import { takeTurns } from './turns.ts';
import { Violation } from './violation.ts';
import { VirtualClock } from './virtual-clock.ts';
import {
  coarse,
  drawSettings,
  electionTimeoutMs,
  type HostSettings,
  type WorldSettings,
} from './world-settings.ts';

/** How long the cluster may take to recover once everything works again. */
const recoveryMs = 40 * electionTimeoutMs;
/** Temporary files that may be in use at a time: two snapshots, their descriptions, a segment. */
const temporaryLimit = 5;
/** At every so many-th entry the databases of the servers are compared. */
const imageEvery = 4;
/** Writes that must succeed in that time. */
const writesAfterHealing = 3;

/** What a run was worth. */
export interface Summary {
  readonly events: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly leaders: number;
  /** Changes of the members and transfers of leadership that succeeded. */
  readonly changes: number;
  readonly transfers: number;
  /** Snapshots restored, at a start or from another server. */
  readonly restored: number;
  /** The same for two runs only if the same things happened. */
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
  readonly #settings: WorldSettings;
  readonly #network: Network;
  readonly #hosts: readonly Host[];
  readonly #clients: Clients;
  readonly #operators: Operators;
  readonly #nemesis: Nemesis;
  #calm = false;
  #restored = 0;
  #failure: { readonly error: unknown } | undefined;

  /** @param keep how many lines of the trace to keep */
  constructor(seed: number, kind: WorldSettings['kind'], keep: number) {
    this.#random = seededRandom(seed);
    this.trace = new Trace(keep);
    this.#settings = drawSettings(this.#random, kind);
    const clock = this.#clock;
    this.#network = this.#createNetwork();
    const { hosts, clients } = kind === 'sql' ? this.#sql() : this.#registers();
    this.#hosts = hosts;
    for (const host of hosts) {
      host.disk.onChange = (kind) => this.#nemesis.changingNames(host, kind);
    }
    this.#clients = clients;
    const log = (line: () => string) => this.trace.add(clock.now(), '-', line);
    this.#operators = new Operators({ clock, random: this.#fork(), hosts, log });
    this.#nemesis = new Nemesis({
      clock,
      random: this.#fork(),
      network: this.#network,
      hosts,
      operators: this.#operators,
      probe: ({ id }) => this.#clients.probe(id),
      electionTimeoutMs,
      log,
    });
  }

  /** Runs it all: with faults, then without, until everybody agrees. Rejects when a property does not hold. */
  async run(): Promise<Summary> {
    const { faultyMs } = this.#settings;
    for (const host of this.#hosts) host.start();
    this.#clients.start();
    this.#nemesis.start();
    await this.#runUntil(faultyMs, () => false);
    this.#nemesis.heal();
    this.#clients.calm();
    this.#calm = true;
    for (const { life } of this.#hosts) life?.calm();
    const acknowledged = this.#clients.acknowledged + writesAfterHealing;
    await this.#runUntil(faultyMs + recoveryMs, () => {
      return this.#clients.acknowledged >= acknowledged && this.#trouble() === undefined;
    });
    const trouble = this.#trouble();
    if (trouble !== undefined) throw new Violation(`after healing ${trouble}`);
    if (this.#clients.acknowledged < acknowledged) throw new Violation('no writes after healing');
    const wrong = this.#clients.check() ?? this.#litter();
    if (wrong !== undefined) throw new Violation(wrong);
    return this.summary;
  }

  /** Every process ends: what they used may be used again. */
  end(): void {
    for (const host of this.#hosts) host.crash('power cut');
  }

  get summary(): Summary {
    return {
      events: this.trace.count,
      committed: this.checkers.committedIndex,
      acknowledged: this.#clients.acknowledged,
      reads: this.#clients.reads,
      leaders: this.checkers.leaders,
      changes: this.#operators.changes,
      transfers: this.#operators.transfers,
      restored: this.#restored,
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
    const host = this.#host(id);
    if (host === undefined || !isDeviceFault(error)) {
      this.fail(error);
      return;
    }
    this.log(id, () => `stops: ${String(error)}`);
    host.disk.fault = undefined;
    const { run } = host;
    const how = this.#random.int(0, 1) === 0 ? 'kill' : 'power cut';
    // In a turn of its own: nothing of the process may run on behind its end.
    this.#clock.nextTurn(() => {
      if (host.run === run) this.#nemesis.crash(host, how);
    });
  }

  elected(id: ServerId): void {
    const host = this.#host(id);
    if (host !== undefined) this.#nemesis.elected(host);
    const term = host?.life?.transition?.term ?? 0;
    const holder = this.#hosts.find(({ clock, life }) => {
      const older = life !== host?.life && (life?.transition?.term ?? term) < term;
      return older && life !== undefined && clock.now() < life.raft.leaseUntil;
    });
    if (holder !== undefined) throw new Violation(`${id} leads while ${holder.id} holds a lease`);
  }

  started(id: ServerId): void {
    this.log(id, () => 'takes part');
    if (this.#calm) this.#host(id)?.life?.calm();
  }

  persisting(id: ServerId, write: Persist): void {
    this.log(id, () => describeEffects({ ...noEffects, persist: write }).join('; '));
    const host = this.#host(id);
    if (host === undefined) return;
    if (write.vote?.votedFor !== undefined) this.#nemesis.voted(host);
    if (write.snapshot !== undefined) this.#nemesis.installing(host);
  }

  proposing(id: ServerId): void {
    const host = this.#host(id);
    if (host !== undefined) this.#operators.proposing(host);
  }

  applying(id: ServerId, entries: readonly Applied[]): void {
    this.log(id, () => `applies ${entries.map(({ entry }) => describeEntry(entry)).join(', ')}`);
  }

  shipping(id: ServerId, { index }: SnapshotMeta): void {
    this.log(id, () => `opens its snapshot of ${index}`);
    const host = this.#host(id);
    if (host !== undefined) this.#nemesis.shipping(host);
  }

  receiving(id: ServerId, { index }: SnapshotMeta): void {
    this.log(id, () => `is sent a snapshot of ${index}`);
    const host = this.#host(id);
    if (host !== undefined) this.#nemesis.shipping(host);
  }

  applied(id: ServerId): void {
    const service = this.#host(id)?.life?.service;
    if (service !== undefined) this.#checkState(id, service);
  }

  restored(id: ServerId, meta: SnapshotMeta): void {
    this.log(id, () => `is in the state of ${meta.index}`);
    this.#restored++;
    const service = this.#host(id)?.life?.service;
    if (service !== undefined) this.#checkState(id, service);
  }

  async #runUntil(endMs: number, done: () => boolean): Promise<void> {
    let events = 0;
    await takeTurns(() => {
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#checkLeases();
      if (++events % 64 === 0 && done()) return false;
      return this.#clock.runNext(endMs);
    });
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Whoever holds a lease may be read from: it has applied everything acknowledged anywhere. */
  #checkLeases(): void {
    for (const { id, life, mainClock } of this.#hosts) {
      if (life === undefined || mainClock.paused || !life.consensus.leaseHeld()) continue;
      const serves = life.service.leadingTerm !== undefined;
      if (serves && life.service.index < this.checkers.acknowledgedIndex) {
        throw new Violation(
          `the lease of ${id} at ${life.service.index} misses ${this.checkers.acknowledgedIndex}`,
        );
      }
    }
  }

  /** Equal indexes are equal states: by the bytes applied, and where there are none at hand, by what came of them. */
  #checkState(id: ServerId, service: Service): void {
    const { chain, index, restoring } = service;
    if (restoring || (chain === undefined && index % imageEvery !== 0)) return;
    const same =
      chain === undefined
        ? this.checkers.isStateOf(index, service.image())
        : sameChain(chain, this.checkers.committedChain(index) ?? emptyChain);
    if (!same) throw new Violation(`${id} is in another state than others at ${index}`);
  }

  /** What is not yet as it must be after healing. */
  #trouble(): string | undefined {
    const leader = this.#hosts.find(({ life }) => life?.service.leadingTerm !== undefined);
    const service = leader?.life?.service;
    if (leader === undefined || service === undefined) return 'nobody leads';
    const { servers = [] } = leader.life?.consensus.transition.configuration ?? {};
    const isVoter = servers.some(({ id, role }) => id === leader.id && role === 'voter');
    if (!isVoter) return `${leader.id} leads and is no voter`;
    for (const { id, role } of servers) {
      const other = this.#host(id)?.life?.service;
      if (role === 'spare' || other === service) continue;
      if (other?.index !== service.index)
        return `${id} is at ${other?.index}, not ${service.index}`;
      if (other.image() !== service.image()) throw new Violation(`${id} is in another state`);
    }
    return this.#operators.unanswered;
  }

  /** What nobody removes from a disk. */
  #litter(): string | undefined {
    for (const { id, disk } of this.#hosts) {
      const temporary = disk.paths.filter((path) => path.includes('tmp-'));
      if (temporary.length > temporaryLimit) return `${id} keeps ${temporary}`;
    }
    return undefined;
  }

  #createNetwork(): Network {
    const { network } = this.#settings;
    const log = (id: ServerId, line: () => string) => this.log(id, line);
    const random = this.#fork();
    if (network.kind === 'sockets') return new SocketNetwork(this.#clock, random, network, log);
    return new MessageNetwork(this.#clock, random, network, log);
  }

  #registers(): { hosts: Host[]; clients: Clients } {
    const hosts = this.#settings.hosts.map((one) =>
      this.#createHost(one, () => new RegisterMachine()),
    );
    const { clients } = this.#settings;
    const acknowledged = () => this.checkers.acknowledgedIndex;
    return {
      hosts,
      clients: new RegisterClients(this.#clock, this.#fork(), clients, hosts, acknowledged),
    };
  }

  #sql(): { hosts: Host[]; clients: Clients } {
    const hosts = this.#settings.hosts.map((one) => {
      const random = this.#fork();
      const stopped = (reason: string) => this.fail(new Violation(`${one.id} stops: ${reason}`));
      return this.#createHost(one, (clock) => new SqlService(one.id, clock, random, stopped));
    });
    const { clients } = this.#settings;
    return { hosts, clients: new SqlClients(this.#clock, this.#fork(), clients, hosts) };
  }

  #createHost<S extends Service>(
    { address, members, rate, zeroMs, maxDiskLatencyMs, maxRestoreMs, raft, port }: HostSettings,
    createService: (clock: HostClock) => S,
  ): Host<S> {
    const clock = new HostClock(this.#clock, rate, zeroMs);
    const options = { directories: [directory], minLatencyMs: 0, maxLatencyMs: maxDiskLatencyMs };
    const mainClock = new HostClock(this.#clock, rate, zeroMs);
    const random = this.#fork();
    return new Host({
      world: this.#clock,
      threads: port && { mainClock, port },
      options: raft,
      address,
      clock,
      disk: new FaultyDisk(clock, this.#fork(), options),
      random: this.#settings.ties ? coarse(this.#fork()) : this.#fork(),
      network: this.#network,
      around: this,
      members,
      segmentBytes: this.#settings.segmentBytes,
      restoreMs: () => (random.int(0, 1) === 0 ? 0 : random.int(0, maxRestoreMs)),
      createService,
    });
  }

  #host(id: ServerId): Host | undefined {
    return this.#hosts.find((host) => host.id === id);
  }

  /** A source of its own: what one part draws does not shift what the others draw. */
  #fork(): Random {
    return seededRandom(this.#random.int(0, 0x7fffffff));
  }
}

/** An error of the kind that the nemesis makes disks answer. */
function isDeviceFault(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'EIO' || code === 'DQL_NO_SPACE';
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
