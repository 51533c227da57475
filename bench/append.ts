/**
 * Durable appends on each way to write the log, paired: every round measures all of them, one after the other, in an
 * order that turns. Usage: node --import=tsx bench/append.ts [ROUNDS] [MS] [DIRECTORY] [WRITERS,...] [POOL,...]
 *
 * A writer persists a 4 KiB entry through the store, waits, and persists the next; what waits together leaves
 * together. Each back end has one store for all rounds; spare segments are made ahead as a daemon makes them.
 * Printed are medians over the rounds: microseconds a write, writes a second, and processor time per
 * write, of the thread that writes and of the whole process; then the ratios to the last back end, round by round.
 *
 * Pools: `idle`; `crypto`: four slow jobs in libuv's thread pool, which also keep the processors busy; `fs`: four that
 * only wait, 20 ms each.
 */
import { execFileSync, spawn } from 'node:child_process';
import { pbkdf2 } from 'node:crypto';
import { constants, mkdtempSync, open, read, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nullLogger } from '../src/base/logger.ts';
import type { Entry } from '../src/raft/types.ts';
import { nodeClock } from '../src/server/node-clock.ts';
import type { Disk } from '../src/storage/disk.ts';
import { type DiskBackend, diskBackends, openDisk } from '../src/storage/open-disk.ts';
import { DiskRaftStore } from '../src/storage/raft-store.ts';

const rounds = Number(process.argv[2] ?? 11);
const durationMs = Number(process.argv[3] ?? 150);
const place = process.argv[4] ?? tmpdir();
const writerCounts = (process.argv[5] ?? '1,8,64').split(',').map(Number);
const pools = (process.argv[6] ?? 'idle,fs,crypto').split(',') as (keyof typeof busyPools)[];
const data = Buffer.alloc(4080, 7);

interface Outcome {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly perSecond: number;
  readonly threadUs: number;
  readonly processUs: number;
}

/** A store that appends, one entry a call. */
class Appender {
  readonly #directory = mkdtempSync(join(place, 'dqlited-bench-'));
  readonly #store: DiskRaftStore;
  #count = 0;

  constructor(disk: Disk) {
    this.#store = new DiskRaftStore({
      disk,
      directory: this.#directory,
      clock: nodeClock,
      logger: nullLogger,
      trailingEntries: 8192,
      autoRecovery: false,
    });
  }

  async open(): Promise<void> {
    await this.#store.load();
    for (let warm = 0; warm < 50; warm++) await this.append();
  }

  append(): Promise<void> {
    const index = ++this.#count;
    const entry = { index, term: 1, type: 'command', data } as unknown as Entry;
    // biome-ignore lint/suspicious/noThenProperty: the port calls it so, and nobody awaits a write
    const nothing = { vote: undefined, snapshot: undefined, truncateFrom: undefined, then: [] };
    return this.#store.persist({ ...nothing, write: index, append: [entry] });
  }

  /** Resolves when both spares are there: what one round used up is not made in the round of another. */
  async settled(): Promise<void> {
    for (;;) {
      const names = readdirSync(this.#directory);
      const open = names.filter((name) => name.startsWith('open-')).length;
      if (open >= 3 && !names.some((name) => name.startsWith('tmp-'))) return;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async close(): Promise<void> {
    await this.#store.close();
    rmSync(this.#directory, { recursive: true });
  }
}

/** Nanoseconds that this thread has run. */
function threadNs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]);
}

async function measure(appender: Appender, writers: number): Promise<Outcome> {
  await appender.settled();
  const latencies: number[] = [];
  const [thread, cpu, startedAt] = [threadNs(), process.cpuUsage(), performance.now()];
  const until = startedAt + durationMs;
  const writer = async (): Promise<void> => {
    while (performance.now() < until) {
      const from = performance.now();
      await appender.append();
      latencies.push((performance.now() - from) * 1000);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  const seconds = (performance.now() - startedAt) / 1000;
  const used = process.cpuUsage(cpu);
  const usedThread = threadNs() - thread;
  latencies.sort((a, b) => a - b);
  const count = latencies.length;
  return {
    p50Us: latencies[count >> 1] ?? 0,
    p99Us: latencies[Math.floor(count * 0.99)] ?? 0,
    perSecond: count / seconds,
    threadUs: usedThread / 1000 / count,
    processUs: (used.user + used.system) / count,
  };
}

/** Keep the four threads of the pool busy, from when they resolve until what they return is called. */
const busyPools = {
  idle: async () => async () => {},
  crypto: async () => busy((done) => pbkdf2('a', 'b', 20_000, 64, 'sha512', done)),
  fs: async () => {
    const directory = mkdtempSync(join(place, 'dqlited-bench-pipes-'));
    const paths = [0, 1, 2, 3].map((number) => join(directory, String(number)));
    execFileSync('mkfifo', paths);
    const feed = `const fs = require('node:fs');
      const files = process.argv.slice(1).map((path) => fs.openSync(path, 'r+'));
      setInterval(() => files.forEach((file) => fs.writeSync(file, 'x')), 20);`;
    const feeder = spawn(process.execPath, ['-e', feed, ...paths], { stdio: 'ignore' });
    const byte = Buffer.alloc(1);
    const opened = paths.map(
      (path) =>
        new Promise<number>((resolve, reject) =>
          open(path, constants.O_RDWR, (error, file) => (error ? reject(error) : resolve(file))),
        ),
    );
    const files = await Promise.all(opened);
    const readFrom = (file: number, done: () => void): void => read(file, byte, 0, 1, null, done);
    // Starting the feeder takes the processor for a while, of which nothing shall be measured.
    await Promise.all(files.map((file) => new Promise<void>((done) => readFrom(file, done))));
    const ends = files.map((file) => busy((done) => readFrom(file, done), 1));
    return async () => {
      for (const end of ends) await end();
      feeder.kill('SIGKILL');
      rmSync(directory, { recursive: true });
    };
  },
} as const;

function busy(start: (done: () => void) => void, count = 4): () => Promise<void> {
  let ending = false;
  const job = async (): Promise<void> => {
    while (!ending) await new Promise<void>((resolve) => start(resolve));
  };
  const jobs = Array.from({ length: count }, job);
  return async () => {
    ending = true;
    await Promise.all(jobs);
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

type Candidate = { readonly backend: DiskBackend; readonly appender: Appender };

async function compare(pool: keyof typeof busyPools, writers: number): Promise<void> {
  const candidates: Candidate[] = [];
  for (const { backend, disk } of disks) {
    const appender = new Appender(disk);
    await appender.open();
    candidates.push({ backend, appender });
  }
  const outcomes = new Map<DiskBackend, Outcome[]>();
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < candidates.length; turn++) {
      const { backend, appender } = candidates[(round + turn) % candidates.length] as Candidate;
      await appender.settled();
      const end = await busyPools[pool]();
      const outcome = await measure(appender, writers);
      await end();
      outcomes.set(backend, [...(outcomes.get(backend) ?? []), outcome]);
    }
  }
  for (const { appender } of candidates) await appender.close();
  const paired = outcomes.get(candidates.at(-1)?.backend ?? 'node') ?? [];
  for (const [backend, all] of [...outcomes].sort(([a], [b]) => order(a) - order(b))) {
    const of = (key: keyof Outcome): string => median(all.map((one) => one[key])).toFixed(1);
    const ratio = (key: keyof Outcome): string =>
      median(all.map((one, round) => one[key] / (paired[round]?.[key] ?? 0))).toFixed(2);
    process.stdout.write(
      `${pool} pool, ${String(writers).padStart(2)} writers, ${backend.padEnd(8)} ` +
        `p50 ${of('p50Us')} us (x${ratio('p50Us')}), p99 ${of('p99Us')} us (x${ratio('p99Us')}), ` +
        `${of('perSecond')}/s (x${ratio('perSecond')}), cpu ${of('threadUs')} us thread ` +
        `(x${ratio('threadUs')}), ${of('processUs')} us process (x${ratio('processUs')})\n`,
    );
  }
}

function order(backend: DiskBackend): number {
  return diskBackends.indexOf(backend);
}

const disks = diskBackends.flatMap((backend): { backend: DiskBackend; disk: Disk }[] => {
  try {
    return [{ backend, disk: openDisk(backend).disk }];
  } catch (error) {
    process.stdout.write(`${backend}: ${(error as Error).message}\n`);
    return [];
  }
});

for (const pool of pools) {
  for (const writers of writerCounts) await compare(pool, writers);
}
process.exit(0);
