import { strict as assert } from 'node:assert';
import type { Index, Instant, ServerId, Term } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { encodeConfiguration } from '../../src/protocol/configuration.ts';
import type {
  Applied,
  Effects,
  Event,
  Outbound,
  Persist,
  Settlement,
  Transition,
} from '../../src/raft/events.ts';
import { Raft, type RaftOptions, raftOptions } from '../../src/raft/raft.ts';
import type {
  Configuration,
  Entry,
  Role,
  Snapshot,
  SnapshotData,
  SnapshotMeta,
  Vote,
} from '../../src/raft/types.ts';

/** Branded numbers from plain ones. */
export const id = (value: number | bigint) => BigInt(value) as ServerId;
export const index = (value: number) => value as Index;
export const term = (value: number) => value as Term;
export const instant = (value: number) => value as Instant;

/** The machine of a test: how far it is. What it was told is compared by the checkers. */
export interface MachineState {
  readonly index: number;
  /** How many commands it applied. */
  readonly commands: number;
}

/** A snapshot's bytes are a state object here; `released` counts. */
export class TestSnapshotData implements SnapshotData {
  readonly sizeBytes = 8;
  readonly state: MachineState;
  released = 0;

  constructor(state: MachineState) {
    this.state = state;
  }

  async *chunks(): AsyncIterable<Uint8Array> {}

  release(): void {
    this.released++;
  }
}

/** What a crash leaves. */
export interface TestDisk {
  vote: Vote;
  snapshot: { meta: SnapshotMeta; state: MachineState } | undefined;
  entries: Entry[];
}

/** A message under way. */
export interface Envelope {
  readonly from: TestServer;
  readonly outbound: Outbound;
}

/** What a cluster's owner does with the effects that leave a server. */
export interface Surroundings {
  send(from: TestServer, outbound: Outbound): void;
  shipSnapshot(from: TestServer, ship: NonNullable<Effects['shipSnapshot']>): void;
  applied(on: TestServer, applied: readonly Applied[]): void;
  settled(on: TestServer, settlement: Settlement): void;
  transition(on: TestServer, transition: Transition): void;
  stepped(on: TestServer, event: Event, effects: Effects): void;
}

/** One Raft server over a disk that forgets what was not written when it crashes. */
export class TestServer {
  readonly id: ServerId;
  readonly address: string;
  readonly disk: TestDisk;
  readonly #options: RaftOptions;
  readonly #around: Surroundings;
  /** Counts runs: what belongs to an earlier one is void. */
  run = 0;
  raft: Raft | undefined;
  /** Handed to the disk, not yet durable. */
  writes: Persist[] = [];
  /** The log as Raft has it in memory. */
  log: Entry[] = [];
  machine: MachineState = { index: 0, commands: 0 };
  snapshotJob: { meta: SnapshotMeta; state: MachineState } | undefined;

  constructor(options: RaftOptions, around: Surroundings, configuration?: Configuration) {
    this.id = options.id;
    this.address = `s${options.id}`;
    this.#options = options;
    this.#around = around;
    const entries = configuration === undefined ? [] : [bootstrapEntry(configuration)];
    const vote: Vote = { term: term(entries.length), votedFor: undefined };
    this.disk = { vote, snapshot: undefined, entries };
  }

  start(now: Instant, seed: number): void {
    assert(this.raft === undefined, 'is down');
    this.run++;
    const { vote, snapshot, entries } = this.disk;
    this.log = [...entries];
    this.machine = snapshot?.state ?? { index: 0, commands: 0 };
    const start = { now, vote, snapshot: snapshot?.meta, entries: [...entries] };
    this.raft = new Raft(this.#options, start, seededRandom(seed));
  }

  /** Stops at once: of the writes under way the first `survive` reached the disk. */
  crash(survive: number): void {
    for (const write of this.writes.slice(0, survive)) this.#store(write);
    this.writes = [];
    this.snapshotJob = undefined;
    this.raft = undefined;
  }

  step(event: Event, now: Instant): void {
    if (this.raft === undefined) return;
    const effects = this.raft.step(event, now);
    const { persist } = effects;
    if (persist !== undefined) {
      this.writes.push(persist);
      this.log = changeLog(this.log, persist);
    }
    this.#around.stepped(this, event, effects);
    for (const outbound of effects.send) this.#around.send(this, outbound);
    if (effects.restore !== undefined) this.machine = stateOf(effects.restore);
    effects.discard?.data.release();
    if (effects.apply.length > 0) this.#apply(effects.apply);
    for (const settlement of effects.settle) this.#around.settled(this, settlement);
    if (effects.takeSnapshot !== undefined) {
      assert(this.snapshotJob === undefined, 'one snapshot at a time');
      assert.equal(effects.takeSnapshot.index, this.machine.index);
      const written = this.disk.entries.at(-1)?.index ?? this.disk.snapshot?.meta.index ?? 0;
      assert(effects.takeSnapshot.index <= written, 'the log on disk reaches the snapshot');
      this.snapshotJob = { meta: effects.takeSnapshot, state: this.machine };
    }
    if (effects.shipSnapshot !== undefined) this.#around.shipSnapshot(this, effects.shipSnapshot);
    if (effects.transition !== undefined) this.#around.transition(this, effects.transition);
  }

  /** The oldest write under way reaches the disk. */
  finishWrite(now: Instant): boolean {
    const write = this.writes.shift();
    if (write === undefined || this.raft === undefined) return false;
    this.#store(write);
    for (const outbound of write.then) this.#around.send(this, outbound);
    this.step({ type: 'persisted', write: write.write }, now);
    return true;
  }

  /** The snapshot being taken reaches the disk, or fails. */
  finishSnapshot(now: Instant, fails = false): boolean {
    const job = this.snapshotJob;
    if (job === undefined || this.raft === undefined) return false;
    this.snapshotJob = undefined;
    if (!fails && job.meta.index > (this.disk.snapshot?.meta.index ?? 0)) {
      this.disk.snapshot = job;
      const keepFrom = job.meta.index - this.#options.snapshotTrailing + 1;
      this.disk.entries = this.disk.entries.filter((entry) => entry.index >= keepFrom);
    }
    this.step({ type: 'snapshotTaken', meta: fails ? undefined : job.meta }, now);
    return true;
  }

  #store(write: Persist): void {
    const { disk } = this;
    if (write.vote !== undefined) disk.vote = write.vote;
    if (write.snapshot !== undefined) {
      disk.snapshot = { meta: write.snapshot.meta, state: stateOf(write.snapshot) };
    }
    disk.entries = changeLog(disk.entries, write);
  }

  #apply(applied: readonly Applied[]): void {
    let { commands } = this.machine;
    let at = this.machine.index;
    for (const { entry } of applied) {
      assert.equal(entry.index, at + 1, 'applied in order');
      at = entry.index;
      if (entry.type === 'command') commands++;
    }
    this.machine = { index: at, commands };
    this.#around.applied(this, applied);
  }
}

function changeLog(log: Entry[], write: Persist): Entry[] {
  if (write.snapshot !== undefined) return [...write.append];
  const [first] = log;
  if (write.truncateFrom !== undefined && first !== undefined) {
    log.length = Math.max(0, write.truncateFrom - first.index);
  }
  log.push(...write.append);
  return log;
}

function stateOf(snapshot: Snapshot): MachineState {
  assert(snapshot.data instanceof TestSnapshotData);
  return snapshot.data.state;
}

/** The command of a test is a text, padded to whole words. */
export function commandOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  const padded = Buffer.alloc(Math.max(8, Math.ceil(bytes.length / 8) * 8), ' ');
  bytes.copy(padded);
  return padded;
}

/** A configuration of servers `s1`, `s2`, … by their ids. */
export function members(roles: Readonly<Record<number, Role>>): Configuration {
  return {
    servers: Object.entries(roles).map(([key, role]) => ({
      id: id(Number(key)),
      address: `s${key}`,
      role,
    })),
  };
}

function bootstrapEntry(configuration: Configuration): Entry {
  const data = encodeConfiguration(configuration);
  return { index: index(1), term: term(1), type: 'change', data };
}

/** Options with round numbers: T 1000, heartbeat 100. */
export function testOptions(server: ServerId, given: Partial<RaftOptions> = {}): RaftOptions {
  return raftOptions({ id: server, electionTimeoutMs: 1000, ...given });
}
