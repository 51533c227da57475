/**
 * Durable appends on each way to write the log, paired: every round measures all of them, one after the other, in an
 * order that turns. Usage: node --import=tsx bench/append.ts [ROUNDS] [MS] [DIRECTORY]
 *
 * A writer persists a 4 KiB entry through the store, waits, and persists the next; what waits together leaves
 * together. Printed are medians over the rounds: microseconds a write, writes a second, and processor time per
 * write, of the thread that writes and of the whole process. `busy`: four slow jobs in libuv's thread pool.
 */
import { pbkdf2 } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nullLogger } from '../src/base/logger.ts';
import type { Entry } from '../src/raft/types.ts';
import { nodeClock } from '../src/server/node-clock.ts';
import type { Disk } from '../src/storage/disk.ts';
import { type DiskBackend, diskBackends, openDisk } from '../src/storage/open-disk.ts';
import { DiskRaftStore } from '../src/storage/raft-store.ts';

const rounds = Number(process.argv[2] ?? 5);
const durationMs = Number(process.argv[3] ?? 300);
const place = process.argv[4] ?? tmpdir();
const entryBytes = 4080;
const writerCounts = [1, 8, 64];

interface Outcome {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly perSecond: number;
  readonly threadUs: number;
  readonly processUs: number;
}

/** Nanoseconds that this thread has run. */
function threadNs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]);
}

async function measure(disk: Disk, writers: number): Promise<Outcome> {
  const directory = mkdtempSync(join(place, 'dqlited-bench-'));
  const store = new DiskRaftStore({
    disk,
    directory,
    clock: nodeClock,
    logger: nullLogger,
    trailingEntries: 8192,
    autoRecovery: false,
  });
  await store.load();
  const latencies: number[] = [];
  let index = 0;
  let write = 0;
  const data = Buffer.alloc(entryBytes, 7);
  const one = (): Promise<void> => {
    const entry = { index: ++index, term: 1, type: 'command', data } as unknown as Entry;
    // biome-ignore lint/suspicious/noThenProperty: the port calls it so, and nobody awaits a write
    const nothing = { vote: undefined, snapshot: undefined, truncateFrom: undefined, then: [] };
    return store.persist({ ...nothing, write: ++write, append: [entry] });
  };
  for (let warm = 0; warm < 50; warm++) await one();
  const [thread, cpu, startedAt] = [threadNs(), process.cpuUsage(), performance.now()];
  const until = startedAt + durationMs;
  const writer = async (): Promise<void> => {
    while (performance.now() < until) {
      const from = performance.now();
      await one();
      latencies.push((performance.now() - from) * 1000);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  const seconds = (performance.now() - startedAt) / 1000;
  const used = process.cpuUsage(cpu);
  const usedThread = threadNs() - thread;
  await store.close();
  rmSync(directory, { recursive: true });
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

/** Four jobs that keep the four threads of the pool busy until told to end. */
function busyPool(): () => Promise<void> {
  let ending = false;
  const job = async (): Promise<void> => {
    while (!ending) {
      await new Promise((resolve) => pbkdf2('a', 'b', 20_000, 64, 'sha512', resolve));
    }
  };
  const jobs = [job(), job(), job(), job()];
  return async () => {
    ending = true;
    await Promise.all(jobs);
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

const disks = diskBackends.flatMap((backend): { backend: DiskBackend; disk: Disk }[] => {
  try {
    return [{ backend, disk: openDisk(backend).disk }];
  } catch (error) {
    process.stdout.write(`${backend}: ${(error as Error).message}\n`);
    return [];
  }
});

for (const pool of ['idle', 'busy'] as const) {
  for (const writers of writerCounts) {
    const outcomes = new Map<DiskBackend, Outcome[]>();
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < disks.length; turn++) {
        const { backend, disk } = disks[(round + turn) % disks.length] as (typeof disks)[number];
        const end = pool === 'busy' ? busyPool() : async () => {};
        const outcome = await measure(disk, writers);
        await end();
        outcomes.set(backend, [...(outcomes.get(backend) ?? []), outcome]);
      }
    }
    for (const [backend, all] of outcomes) {
      const of = (key: keyof Outcome): string => median(all.map((one) => one[key])).toFixed(1);
      process.stdout.write(
        `${pool} pool, ${String(writers).padStart(2)} writers, ${backend.padEnd(8)} ` +
          `p50 ${of('p50Us')} us, p99 ${of('p99Us')} us, ${of('perSecond')}/s, ` +
          `cpu ${of('threadUs')} us thread, ${of('processUs')} us process\n`,
      );
    }
  }
}
process.exit(0);
