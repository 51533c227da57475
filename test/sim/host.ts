import { nullLogger } from '../../src/base/logger.ts';
import type { Random } from '../../src/base/random.ts';
import { describeTransition } from '../../src/raft/describe.ts';
import type { Settlement, Ticket } from '../../src/raft/events.ts';
import type { RaftOptions } from '../../src/raft/options.ts';
import type { RaftStore, StateMachine } from '../../src/raft/ports.ts';
import type { Configuration, ServerId, SnapshotData } from '../../src/raft/types.ts';
import { RaftConsensus, type RaftRequest } from '../../src/server/raft-consensus.ts';
import { bootstrap, isFresh } from '../../src/storage/bootstrap.ts';
import { DiskRaftStore } from '../../src/storage/raft-store.ts';
import { Violation } from './checkers.ts';
import type { FaultyDisk } from './faulty-disk.ts';
import type { HostClock } from './host-clock.ts';
import type { Network, RaftProcess } from './network.ts';
import type { Service } from './service.ts';
import type { Surroundings } from './surroundings.ts';

/** What one host is made of. */
export interface HostParts<S extends Service> {
  readonly options: RaftOptions;
  readonly address: string;
  readonly clock: HostClock;
  readonly disk: FaultyDisk;
  readonly random: Random;
  readonly network: Network;
  readonly around: Surroundings;
  /** Whom a fresh directory is bootstrapped with; undefined: it starts empty and waits to be added. */
  readonly members: Configuration | undefined;
  readonly segmentBytes: number;
  /** How long it takes to read a snapshot: a large database is not restored in a moment. */
  readonly restoreMs: number;
  /** What runs on it; made anew for every run of the process. */
  readonly createService: (clock: HostClock) => S;
}

/** One run of the process. */
export interface Life<S> {
  readonly raft: RaftProcess;
  readonly store: RaftStore;
  readonly service: S;
  readonly consensus: RaftConsensus;
}

/** A machine with a disk on which the daemon's parts run: store, Raft and driver. It may crash and start again. */
export class Host<S extends Service = Service> {
  readonly id: ServerId;
  readonly address: string;
  readonly clock: HostClock;
  readonly disk: FaultyDisk;
  readonly #parts: HostParts<S>;
  #life: Life<S> | undefined;
  /** Reads under way, with what was acknowledged when they were asked. */
  readonly #reads = new Map<Ticket, number>();
  /** Counts the runs of the process: what belongs to an earlier one is void. */
  #run = 0;

  constructor(parts: HostParts<S>) {
    this.#parts = parts;
    this.id = parts.options.id;
    this.address = parts.address;
    this.clock = parts.clock;
    this.disk = parts.disk;
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
    this.clock.die();
    if (how === 'kill') this.disk.kill();
    else this.disk.crash();
    this.#parts.network.died(this, how);
  }

  async #boot(): Promise<void> {
    const { clock, disk, members, options, random, network, around, createService } = this.#parts;
    const store = this.#observedStore();
    const service = createService(clock);
    const consensus: RaftConsensus = new RaftConsensus(service, {
      // Not at once: what becomes of a proposal must not be told before its ticket is known.
      request: (request) => queueMicrotask(() => this.#ask(raft, request)),
      leaseHeld: () => clock.now() < raft.leaseUntil,
    });
    const raft: RaftProcess = network.createRaft(this, {
      options,
      store,
      machine: this.#observedMachine(consensus.machine),
      clock,
      random,
      logger: nullLogger,
      sending: ({ to, message }) => around.checkers.sending(this.id, to.id, message),
      onSettle: (settlement) => {
        this.#settled(settlement);
        consensus.settle(settlement);
      },
      onLease: () => {},
      fatal: (error) => around.fatal(this.id, error),
    });
    service.attach(consensus);
    this.#life = { raft, store, service, consensus };
    if (members !== undefined && (await isFresh(disk, directory))) {
      await bootstrap(disk, directory, members);
    }
    await raft.start();
    around.started(this.id);
  }

  /** A read that is settled sees everything that was acknowledged anywhere before it was asked. */
  #settled(settlement: Settlement): void {
    const floor = this.#reads.get(settlement.ticket);
    this.#reads.delete(settlement.ticket);
    if (floor === undefined || settlement.outcome !== 'done' || settlement.index >= floor) return;
    throw new Violation(`a read on ${this.id} at ${settlement.index} misses ${floor}`);
  }

  #ask(raft: RaftProcess, request: RaftRequest): void {
    if (request.type === 'read') {
      this.#reads.set(request.ticket, this.#parts.around.checkers.acknowledgedIndex);
    }
    this.#watch(() => raft.request(request));
  }

  /** What is thrown here ends the run, whoever may be there to catch it. */
  #watch(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#parts.around.fail(error);
    }
  }

  #observedStore(): RaftStore {
    const { around, clock, disk, options, segmentBytes } = this.#parts;
    const { checkers } = around;
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
    return {
      space: store.space,
      load: async () => {
        const loaded = await store.load();
        around.log(
          this.id,
          () => `loaded ${loaded.entries.length} entries, term ${loaded.vote.term}`,
        );
        checkers.loaded(this.id, loaded);
        return loaded;
      },
      persist: async (write) => {
        around.persisting(this.id, write);
        checkers.persisting(this.id, write);
        await store.persist(write);
        around.log(this.id, () => `durable: write ${write.write}`);
        checkers.persisted(this.id, write.write);
      },
      writeSnapshot: async (snapshot) => {
        await store.writeSnapshot(snapshot);
        around.log(this.id, () => `snapshot of ${snapshot.meta.index} is on disk`);
        // The driver lives with a snapshot that fails: a violation must not be taken for one.
        this.#watch(() => checkers.snapshotWritten(this.id, snapshot.meta));
      },
      openSnapshot: (meta) => store.openSnapshot(meta),
      receiveSnapshot: (meta, chunks) => store.receiveSnapshot(meta, chunks),
      close: () => store.close(),
    };
  }

  #slowly(data: SnapshotData): SnapshotData {
    const { clock, restoreMs } = this.#parts;
    return {
      sizeBytes: data.sizeBytes,
      async *chunks() {
        if (restoreMs > 0) await new Promise<void>((resolve) => clock.after(restoreMs, resolve));
        yield* data.chunks();
      },
      release: () => data.release(),
    };
  }

  #observedMachine(machine: StateMachine): StateMachine {
    const { around } = this.#parts;
    const { checkers } = around;
    let leads = false;
    return {
      apply: (entries) => {
        around.applying(this.id, entries);
        checkers.applied(this.id, entries);
        machine.apply(entries);
      },
      transition: (transition) => {
        around.log(this.id, () => describeTransition(transition));
        checkers.transition(this.id, transition);
        machine.transition(transition);
        const led = leads;
        leads = transition.state === 'leader';
        if (leads && !led) around.elected(this.id);
      },
      takeSnapshot: () => machine.takeSnapshot(),
      restore: async ({ meta, data }) => {
        await machine.restore({ meta, data: this.#slowly(data) });
        around.restored(this.id, meta);
      },
    };
  }
}

/** Every host has one directory on a disk of its own. */
export const directory = '/data';
