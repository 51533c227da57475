/**
 * How much clients feel of a fresh server that joins a cluster with much data: the longest time between two answers to a
 * writer and to a reader, each with a request every millisecond, before and while it joins. Run by hand on a calm machine:
 *
 *   npx tsx test/cluster/join-figures.ts          DATABASE_MB=500 LATENCY_MS=200
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import t from 'tap';
import { connect, type Database } from '../../src/client/database.ts';
import { line } from '../load/print.ts';
import { numberSetting } from '../support/settings.ts';
import { TestCluster, until } from './test-cluster.ts';

const databaseMb = numberSetting('DATABASE_MB', 500);
const SETTLE_MS = 5000;

t.setTimeout(0);
t.test('a fresh server joins', { timeout: 900_000 }, async (t) => {
  const cluster = await TestCluster.of(t, 3);
  const open = () => connect({ servers: cluster.addresses, database: 'app', connections: 1 });
  const [writer, reader] = [await open(), await open()];
  await fill(writer);
  line('database', `${databaseMb} MB`);

  const pace = new Pace(writer, reader);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  pace.tell('before');
  const startedAt = performance.now();
  const fresh = await cluster.add();
  const addedAt = performance.now();
  await until(
    async () => (await cluster.status(fresh)).role === 'standby',
    () => 'a role for the fresh server',
  );
  const { lastIndex } = await cluster.status(await cluster.leader());
  await until(
    async () => (await cluster.status(fresh)).appliedIndex >= lastIndex,
    () => 'the fresh server to catch up',
  );
  line('joined in', `${Math.round(performance.now() - startedAt)} ms, caught up in`);
  line('', `${Math.round(performance.now() - addedAt)} ms after it was ready`);
  pace.tell('while it joins');
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  pace.tell('after');
  await pace.stop();
  writer.close();
  reader.close();
});

async function fill(database: Database): Promise<void> {
  await database.exec('CREATE TABLE filling (id INTEGER PRIMARY KEY, data)');
  await database.exec('CREATE TABLE paced (value)');
  for (let mb = 0; mb < databaseMb; mb += 4) {
    await database.exec('INSERT INTO filling (data) VALUES (randomblob(?))', [4 * 1024 * 1024]);
  }
}

/** A writer and a reader, and how long each had to wait for an answer since it was told last. */
class Pace {
  readonly #loops: Promise<void>[];
  readonly #delay = monitorEventLoopDelay({ resolution: 1 });
  #longest = new Map<string, number>();
  #counts = new Map<string, number>();
  #stopped = false;

  constructor(writer: Database, reader: Database) {
    this.#delay.enable();
    let value = 0;
    this.#loops = [
      this.#loop('writer', () => writer.exec('INSERT INTO paced VALUES (?)', [++value])),
      this.#loop('reader', () => reader.query('SELECT max(value) FROM paced').all()),
    ];
  }

  tell(when: string): void {
    const told = [...this.#longest].map(
      ([who, ms]) => `${who} ${Math.round(ms)} ms (${this.#counts.get(who)} requests)`,
    );
    const own = Math.round(this.#delay.max / 1e6);
    line(when, `longest wait: ${told.join(', ')}; this process stood still for up to ${own} ms`);
    this.#longest = new Map();
    this.#counts = new Map();
    this.#delay.reset();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #loop(who: string, request: () => Promise<unknown>): Promise<void> {
    while (!this.#stopped) {
      const from = performance.now();
      await request();
      const waited = performance.now() - from;
      this.#longest.set(who, Math.max(this.#longest.get(who) ?? 0, waited));
      this.#counts.set(who, (this.#counts.get(who) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
