import t from 'tap';
import type { Index } from '../../src/base/ids.ts';
import { nullLogger } from '../../src/base/logger.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import type { Persist } from '../../src/raft/events.ts';
import type { Loaded } from '../../src/raft/ports.ts';
import type { Entry } from '../../src/raft/types.ts';
import { closedSegmentName } from '../../src/storage/file-names.ts';
import { Segments } from '../../src/storage/segments.ts';
import { Space } from '../../src/storage/space.ts';
import { StallWatch } from '../../src/storage/stall-watch.ts';
import { FaultyDisk } from '../sim/faulty-disk.ts';
import { hurriedClock } from '../support/hurried-clock.ts';
import { MemoryDisk } from './memory-disk.ts';
import {
  append,
  collect,
  content,
  entry,
  lookedAtClock,
  metaAt,
  storeOn,
  truncateFrom,
  vote,
} from './store-support.ts';

const directory = '/data';
/** Small, so that a truncation removes several of them. */
const segmentBytes = 8 * 1024;
const trailingEntries = 8;

/** What the directory may hold after a crash: the vote, and where each entry stands. */
interface State {
  readonly term: number;
  readonly votedFor: bigint | undefined;
  /** Everything up to here is in a snapshot that was installed. */
  readonly start: number;
  /** Term and length of the entries behind `start`. */
  readonly log: readonly string[];
}

const empty: State = { term: 0, votedFor: undefined, start: 0, log: [] };

/** The states that a write passes through, the last of them when it is done. */
function* passes(from: State, write: Persist): Generator<State> {
  let state = from;
  if (write.vote) {
    state = { ...state, term: write.vote.term, votedFor: write.vote.votedFor };
    yield state;
  }
  if (write.snapshot) {
    state = { ...state, start: write.snapshot.meta.index, log: [] };
    yield state;
  }
  const cutFrom = write.truncateFrom ?? Number.POSITIVE_INFINITY;
  while (state.start + state.log.length >= cutFrom) {
    state = { ...state, log: state.log.slice(0, -1) };
    yield state;
  }
  for (const one of write.append) {
    state = { ...state, log: [...state.log, line(one)] };
    yield state;
  }
}

function line(one: Entry): string {
  return `${one.term}/${one.data.length}`;
}

/** A server's life: the writes it hands in, and all states it passed through. */
class Life {
  readonly states: State[] = [empty];
  /** How many of the states were there when the last acknowledged write was done. */
  acknowledged = 0;
  readonly #random: Random;
  /** A life without snapshots, whose log grows long and is cut far back. */
  readonly #longLog: boolean;
  #term = 1;

  constructor(random: Random) {
    this.#random = random;
    this.#longLog = random.int(0, 2) === 0;
  }

  get #last(): State {
    return this.states.at(-1) ?? empty;
  }

  get #next(): number {
    return this.#last.start + this.#last.log.length + 1;
  }

  /** Runs until the disk crashes or the story ends. */
  async run(disk: MemoryDisk, steps: number): Promise<void> {
    const store = storeOn(disk, directory, { segmentBytes, trailingEntries, spareSegments: 1 });
    const work: Promise<unknown>[] = [];
    try {
      await store.load();
      await this.#write(store, vote(1, 1n));
      for (let step = 0; step < steps; step++) {
        work.push(this.#step(store));
        if (this.#random.int(0, 2) === 0) await Promise.all(work.splice(0));
      }
      await Promise.all(work.splice(0));
      await store.close();
    } catch (error) {
      if (!disk.crashed) throw error;
    } finally {
      await Promise.allSettled(work);
    }
  }

  #step(store: ReturnType<typeof storeOn>): Promise<unknown> {
    const dice = this.#random.int(0, 19);
    if (dice === 0) {
      this.#term += 1;
      return this.#write(store, vote(this.#term, this.#random.int(0, 1) === 0 ? undefined : 2n));
    }
    if (dice <= 2 && this.#last.log.length > (this.#longLog ? 20 : 2)) return this.#truncate(store);
    if (this.#longLog) return this.#write(store, append(...this.#entries()));
    if (dice === 3) return this.#install(store);
    if (dice <= 5 && this.#last.log.length > 4) return this.#snapshot(store);
    return this.#write(store, append(...this.#entries()));
  }

  #entries(): Entry[] {
    const sizes = Array.from({ length: this.#random.int(1, 3) }, () =>
      this.#random.int(0, 30) === 0 ? 20_000 : 8 * this.#random.int(1, 300),
    );
    return sizes.map((size, at) => entry(this.#next + at, this.#term, size));
  }

  #truncate(store: ReturnType<typeof storeOn>): Promise<unknown> {
    // Entries that a snapshot of ours covers are committed: they are never cut.
    const keep = Math.max(this.#snapshotted, this.#last.start);
    const end = this.#last.start + this.#last.log.length;
    if (end <= keep) return Promise.resolve();
    const from = this.#longLog ? keep + this.#random.int(1, 4) : this.#random.int(keep + 1, end);
    this.#term += 1;
    return this.#write(store, {
      ...truncateFrom(from, entry(from, this.#term, 64)),
      vote: vote(this.#term).vote,
    });
  }

  #snapshotted = 0;

  async #install(store: ReturnType<typeof storeOn>): Promise<void> {
    const meta = metaAt(this.#next + this.#random.int(-2, 5), this.#term + 1);
    if (meta.index <= Math.max(this.#snapshotted, this.#last.start)) return;
    this.#term = meta.term;
    this.#snapshotted = meta.index;
    const writing = vote(this.#term);
    const bytes = Buffer.from(`${meta.index}`);
    const snapshot = { meta, data: content(bytes) };
    await this.#write(store, { ...writing, snapshot });
  }

  async #snapshot(store: ReturnType<typeof storeOn>): Promise<void> {
    const { start, log } = this.#last;
    const index = start + log.length;
    const [term] = (log.at(-1) ?? '').split('/');
    if (index <= this.#snapshotted) return;
    this.#snapshotted = index;
    await store.writeSnapshot({
      meta: metaAt(index, Number(term)),
      data: content(Buffer.from(`${index}`)),
    });
  }

  async #write(store: ReturnType<typeof storeOn>, write: Persist): Promise<void> {
    this.states.push(...passes(this.#last, write));
    const done = this.states.length - 1;
    await store.persist(write);
    this.acknowledged = Math.max(this.acknowledged, done);
  }
}

/** Undefined when what was found is a state that the life passed through since the last acknowledgement. */
function mismatch(life: Life, found: Loaded): string | undefined {
  const snapshotIndex = found.snapshot?.index ?? 0;
  const lines = found.entries
    .filter((one) => one.index > snapshotIndex)
    .map((one) => `${one.index}:${line(one)}`);
  const term = `${found.vote.term} ${found.vote.votedFor}`;
  for (const state of life.states.slice(life.acknowledged)) {
    if (term !== `${state.term} ${state.votedFor}` || snapshotIndex < state.start) continue;
    const expected = state.log
      .map((text, at) => `${state.start + at + 1}:${text}`)
      .slice(snapshotIndex - state.start);
    if (expected.join() === lines.join()) return undefined;
  }
  return `found ${term} ${snapshotIndex} ${lines.join()}`;
}

async function crashAt(seed: number, operation: number): Promise<string | undefined> {
  const random = seededRandom(seed);
  const disk = new MemoryDisk([directory]);
  disk.crashAt = operation;
  const life = new Life(random);
  await life.run(disk, 24);
  for (let again = 0; again < 3; again++) {
    const failure = await recover(life, disk.remains(random), random);
    if (failure !== undefined) return `seed ${seed}, operation ${operation}: ${failure}`;
  }
  if (!disk.crashed) return 'no crash';
  const failure = await powerCutAfterRestart(disk, random);
  return failure && `seed ${seed}, operation ${operation}: ${failure}`;
}

/** What a restarted server has read it may have told others: a power cut must not take it back. */
async function powerCutAfterRestart(disk: MemoryDisk, random: Random): Promise<string | undefined> {
  disk.restart(random);
  const known = shown(await storeOn(disk, directory, { trailingEntries }).load());
  for (let again = 0; again < 2; again++) {
    const found = await storeOn(disk.remains(random), directory, { trailingEntries }).load();
    if (shown(found) !== known) return `known ${known}, found ${shown(found)}`;
  }
  return undefined;
}

function shown({ vote, snapshot, entries }: Loaded): string {
  const lines = entries.map((one) => `${one.index}:${line(one)}`);
  return `${vote.term} ${vote.votedFor} ${snapshot?.index} ${lines.join()}`;
}

/** Recovers, perhaps through a second crash, then goes on and stops cleanly. */
async function recover(life: Life, found: MemoryDisk, random: Random): Promise<string | undefined> {
  let disk = found;
  if (random.int(0, 1) === 0) {
    disk.crashAt = random.int(1, 40);
    const interrupted = storeOn(disk, directory, { trailingEntries });
    await interrupted.load().catch((error: unknown) => {
      if (!disk.crashed) throw error;
    });
    disk = disk.remains(random);
  }
  const store = storeOn(disk, directory, { segmentBytes, trailingEntries, clock: lookedAtClock() });
  const loaded = await store.load();
  const failure = mismatch(life, loaded);
  if (failure !== undefined) return failure;
  if (loaded.snapshot) {
    const data = await store.openSnapshot(loaded.snapshot);
    const text = (await collect(data.chunks())).toString();
    data.release();
    if (text !== `${loaded.snapshot.index}`) return `snapshot holds ${text}`;
  }
  const last = Math.max(loaded.snapshot?.index ?? 0, loaded.entries.at(-1)?.index ?? 0);
  await store.persist({ ...vote(99), append: [entry(last + 1, 99, 5000)] });
  await store.close();
  const names = await disk.list(directory);
  const left = names.filter((name) => name.startsWith('open-') || name.startsWith('tmp-'));
  if (left.length > 0) return `left behind: ${left.join()}`;
  const again = await storeOn(disk, directory, { trailingEntries }).load();
  const end = again.entries.at(-1);
  if (end?.index !== last + 1 || end.term !== 99) return 'the next entry is lost';
  return undefined;
}

/** About 300 crashes each, recovered three times. More by hand: npx tap --test-arg=50 test/storage/crash.test.ts */
const seeds = Number(process.argv[2] ?? 2);

t.test('a crash at any operation keeps everything that was acknowledged', async (t) => {
  let states = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    for (let operation = 1; ; operation++) {
      const failure = await crashAt(seed, operation);
      if (failure === 'no crash') break;
      if (failure !== undefined) {
        t.fail(failure);
        return;
      }
      states += 3;
    }
  }
  t.ok(states > 1000, `${states} states`);
});

t.test('what is left of covered segments by a crash reaches up to the open ones', async (t) => {
  const closed = [1, 3, 5, 7].map((first) => ({ first: index(first), last: index(first + 1) }));
  const names = closed.map(({ first, last }) => closedSegmentName(first, last));
  const left = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed);
    const options = { directories: [directory], minLatencyMs: 0, maxLatencyMs: 1 };
    const disk = new FaultyDisk(hurriedClock, random, options);
    for (const name of names) await disk.create(`${directory}/${name}`);
    await disk.syncDirectory(directory);
    const segments = new Segments({
      disk,
      space: new Space(hurriedClock, nullLogger),
      watch: new StallWatch(hurriedClock, () => {}, t.fail),
      directory,
      segmentBytes,
      spareSegments: 1,
      closed,
      next: index(9),
      failed: () => {},
    });
    const removed = segments.removeCovered(index(8), index(8), 0);
    for (let turn = random.int(0, 12); turn > 0; turn--) await new Promise(setImmediate);
    disk.crash();
    // What never completes belongs to the process that is gone.
    removed.catch(() => {});
    left.add((await disk.list(directory)).toSorted().join(' '));
  }
  const whole = names.map((_, from) => names.slice(from).join(' '));
  t.strictSame([...left].toSorted(), ['', ...whole].toSorted());
});

function index(value: number): Index {
  return value as Index;
}
