import { nullLogger } from '../../src/base/logger.ts';
import type { Random } from '../../src/base/random.ts';
import type { Settlement, Ticket, Transition } from '../../src/raft/events.ts';
import type { RaftOptions } from '../../src/raft/options.ts';
import type { RaftStore, StateMachine } from '../../src/raft/ports.ts';
import type { Configuration, ServerId } from '../../src/raft/types.ts';
import { RaftConsensus, type RaftRequest } from '../../src/server/raft-consensus.ts';
import { bootstrap, isFresh } from '../../src/storage/bootstrap.ts';
import { DiskRaftStore } from '../../src/storage/raft-store.ts';
import type { FaultyDisk } from './faulty-disk.ts';
import type { HostClock } from './host-clock.ts';
import { connectThreads } from './host-threads.ts';
import type { Network, RaftParts, RaftProcess } from './network.ts';
import { observedByRaft, observedOnMain, observedStore, type Watch } from './observed.ts';
import type { Service } from './service.ts';
import type { PortOptions } from './simulated-port.ts';
import type { Surroundings } from './surroundings.ts';
import { Violation } from './violation.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What one host is made of. */
export interface HostParts<S extends Service> {
  readonly options: RaftOptions;
  readonly address: string;
  readonly world: VirtualClock;
  /** Of the thread that Raft runs on. */
  readonly clock: HostClock;
  /** Raft runs on a thread of its own, beside the machine, and this is how they hear of each other. */
  readonly threads: { readonly mainClock: HostClock; readonly port: PortOptions } | undefined;
  readonly disk: FaultyDisk;
  readonly random: Random;
  readonly network: Network;
  readonly around: Surroundings;
  /** Whom a fresh directory is bootstrapped with; undefined: it starts empty and waits to be added. */
  readonly members: Configuration | undefined;
  readonly segmentBytes: number;
  /** Says how long it takes to read the next snapshot: a large database is not restored in a moment. */
  readonly restoreMs: () => number;
  /** What runs on it; made anew for every run of the process. */
  readonly createService: (clock: HostClock) => S;
}

/** One run of the process. */
export interface Life<S> {
  readonly raft: RaftProcess;
  readonly store: RaftStore;
  readonly service: S;
  readonly consensus: RaftConsensus;
  /** Its place in the cluster, as Raft last told the machine; the machine may hear of it later. */
  readonly transition: Transition | undefined;
  /** The thread that serves clients looks at nothing that Raft says for so long, if they are two. */
  readonly holdUp: (byMs: number) => void;
  /** From now on no thread is busy for long. */
  readonly calm: () => void;
}

/** What Raft has on the machine's side. */
type MachineParts = Pick<RaftParts, 'machine' | 'onSettle' | 'onLease' | 'store'>;

type CreateRaft = (parts: MachineParts) => RaftProcess;

type Connected = Pick<Life<Service>, 'consensus' | 'raft' | 'holdUp' | 'calm'>;

/** A machine with a disk on which the daemon's parts run: store, Raft and driver. It may crash and start again. */
export class Host<S extends Service = Service> {
  readonly id: ServerId;
  readonly address: string;
  /** Of the thread that Raft runs on. */
  readonly clock: HostClock;
  /** Of the thread that serves clients: the same one, or one of its own. */
  readonly mainClock: HostClock;
  readonly disk: FaultyDisk;
  readonly #parts: HostParts<S>;
  readonly #watch: Watch;
  #life: Life<S> | undefined;
  /** Reads under way, with what was acknowledged when they were asked. */
  readonly #reads = new Map<Ticket, number>();
  /** Counts the runs of the process: what belongs to an earlier one is void. */
  #run = 0;
  #paused = false;
  #stalled = false;

  constructor(parts: HostParts<S>) {
    this.#parts = parts;
    this.id = parts.options.id;
    this.address = parts.address;
    this.clock = parts.clock;
    this.mainClock = parts.threads?.mainClock ?? parts.clock;
    this.disk = parts.disk;
    const check = (run: () => void) => this.#check(run);
    this.#watch = { id: this.id, around: parts.around, check };
  }

  /** The process, from its start to its end; it may still be reading its disk. */
  get life(): Life<S> | undefined {
    return this.#life;
  }

  get run(): number {
    return this.#run;
  }

  /** Starts the process. It takes part as soon as it has read its disk. */
  start(): void {
    this.#run++;
    const run = this.#run;
    this.#parts.around.log(this.id, () => 'starts');
    this.#boot().catch((error: unknown) => {
      if (run === this.#run) this.#parts.around.fatal(this.id, error);
    });
  }

  /** The power is cut, or only the process is killed. */
  crash(how: 'power cut' | 'kill'): void {
    if (this.#life === undefined) return;
    this.#parts.around.log(this.id, () => how);
    this.#life = undefined;
    this.#reads.clear();
    this.#run++;
    this.#paused = false;
    this.#stalled = false;
    this.clock.die();
    if (this.mainClock !== this.clock) this.mainClock.die();
    if (how === 'kill') this.disk.kill();
    else this.disk.crash();
    this.#parts.network.died(this, how);
  }

  /** The whole process stands still. */
  get paused(): boolean {
    return this.#paused;
  }

  /** The thread that serves clients is busy with something else, and Raft is not. */
  get stalled(): boolean {
    return this.#stalled;
  }

  get hasThreads(): boolean {
    return this.mainClock !== this.clock;
  }

  set paused(paused: boolean) {
    this.#paused = paused;
    setPaused(this.clock, paused);
    if (this.hasThreads) setPaused(this.mainClock, paused || this.#stalled);
  }

  /** @param stalled true only where there are two threads */
  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    setPaused(this.mainClock, stalled || this.#paused);
  }

  async #boot(): Promise<void> {
    const { disk, members, network, around, createService, threads } = this.#parts;
    const store = this.#store();
    const service = createService(this.mainClock);
    const createRaft: CreateRaft = (parts) =>
      network.createRaft(this, { ...this.#raftParts(), ...parts });
    const connected =
      threads === undefined
        ? this.#connectInline(service, store, createRaft)
        : this.#connectThreads(service, store, createRaft, threads.port);
    service.attach(connected.consensus);
    this.#life = { ...connected, store, service, transition: undefined };
    if (members !== undefined && (await isFresh(disk, directory))) {
      await bootstrap(disk, directory, members);
    }
    await connected.raft.start();
    around.started(this.id);
  }

  /** Raft and the machine on one thread. */
  #connectInline(service: S, store: RaftStore, createRaft: CreateRaft): Connected {
    const consensus: RaftConsensus = new RaftConsensus(this.id, service, {
      // Not at once: what becomes of a proposal must not be told before its ticket is known.
      request: (request) => queueMicrotask(() => this.#ask(request, () => raft.request(request))),
      leaseHeld: () => this.clock.now() < raft.leaseUntil,
    });
    const raft: RaftProcess = createRaft({
      store,
      machine: this.#observedByRaft(this.#observedOnMain(consensus.machine)),
      onSettle: (settlement) => this.#settle(consensus, settlement),
      onLease: () => {},
    });
    return { consensus, raft, holdUp: () => {}, calm: () => {} };
  }

  /** Each on its own. */
  #connectThreads(
    service: S,
    store: RaftStore,
    createRaft: CreateRaft,
    port: PortOptions,
  ): Connected {
    const { world, random } = this.#parts;
    const clocks = { world, main: this.mainClock, raft: this.clock };
    const { main, raft, holdUp, calm } = connectThreads(clocks, random, port, (parts) =>
      createRaft({
        ...parts,
        machine: this.#observedByRaft(parts.machine),
        store: parts.awaiting(store),
      }),
    );
    const consensus = new RaftConsensus(this.id, service, {
      request: (request) => this.#ask(request, () => main.request(request)),
      leaseHeld: (term) => main.leaseHeld(term),
    });
    main.drive(this.#observedOnMain(consensus.machine), (settlement) =>
      this.#settle(consensus, settlement),
    );
    return { consensus, raft, holdUp, calm };
  }

  #observedOnMain(machine: StateMachine): StateMachine {
    return observedOnMain(machine, this.#watch, this.mainClock, this.#parts.restoreMs);
  }

  #observedByRaft(machine: StateMachine): StateMachine {
    return observedByRaft(machine, this.#watch, (transition) => {
      if (this.#life !== undefined) this.#life = { ...this.#life, transition };
    });
  }

  #raftParts(): Omit<RaftParts, keyof MachineParts> {
    const { clock, options, random, around } = this.#parts;
    return {
      options,
      clock,
      random,
      logger: nullLogger,
      sending: ({ to, message }) => around.checkers.sending(this.id, to.id, message),
      fatal: (error) => around.fatal(this.id, error),
    };
  }

  /** A read that is settled sees everything that was acknowledged anywhere before it was asked. */
  #settle(consensus: RaftConsensus, settlement: Settlement): void {
    const floor = this.#reads.get(settlement.ticket) ?? 0;
    this.#reads.delete(settlement.ticket);
    if (settlement.outcome === 'done' && settlement.index < floor) {
      throw new Violation(`a read on ${this.id} at ${settlement.index} misses ${floor}`);
    }
    consensus.settle(settlement);
  }

  #ask(request: RaftRequest, ask: () => void): void {
    const { around } = this.#parts;
    if (request.type === 'read') {
      this.#reads.set(request.ticket, around.checkers.acknowledgedIndex);
    }
    if (request.type === 'propose') around.proposing(this.id);
    this.#check(ask);
  }

  #check(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#parts.around.fail(error);
    }
  }

  #store(): RaftStore {
    const { clock, disk, options, segmentBytes } = this.#parts;
    const store = new DiskRaftStore({
      disk,
      directory,
      clock,
      logger: nullLogger,
      trailingEntries: options.snapshotTrailing,
      autoRecovery: false,
      segmentBytes,
      spareSegments: 1,
    });
    return observedStore(store, this.#watch);
  }
}

function setPaused(clock: HostClock, paused: boolean): void {
  if (paused) clock.pause();
  else if (clock.paused) clock.resume();
}

/** Every host has one directory on a disk of its own. */
export const directory = '/data';
