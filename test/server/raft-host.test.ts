import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Index, ServerId, Term } from '../../src/base/ids.ts';
import { nullLogger } from '../../src/base/logger.ts';
import { encodeConfiguration } from '../../src/protocol/configuration.ts';
import { Framer } from '../../src/protocol/framer.ts';
import type { Server } from '../../src/protocol/log.ts';
import { decodeRequest } from '../../src/protocol/requests.ts';
import type { Applied, Ticket, Transition } from '../../src/raft/events.ts';
import { type RaftOptions, raftOptions } from '../../src/raft/options.ts';
import type { StateMachine } from '../../src/raft/ports.ts';
import type { Snapshot, SnapshotData } from '../../src/raft/types.ts';
import { nodeClock } from '../../src/server/node-clock.ts';
import { peerLimits } from '../../src/server/peer-limits.ts';
import { type RaftHost, type RaftHostOptions, startRaft } from '../../src/server/raft-host.ts';
import { openRaftStore } from '../../src/server/raft-storage.ts';

/** A machine that keeps the commands in the order they were applied; its snapshot is the list of them. */
class RecordingMachine implements StateMachine {
  readonly commands: string[] = [];
  readonly transitions: Transition[] = [];
  /** What own proposals were: they are applied without their data. */
  readonly own = new Map<Ticket, string>();
  snapshots = 0;
  restores = 0;
  #waiting: { done: () => boolean; resolve: () => void }[] = [];

  apply(entries: readonly Applied[]): void {
    for (const { entry, ticket } of entries) {
      if (entry.type !== 'command') continue;
      this.commands.push(
        (ticket === undefined ? undefined : this.own.get(ticket)) ?? textOf(entry.data),
      );
    }
    this.#wake();
  }

  transition(transition: Transition): void {
    this.transitions.push(transition);
    this.#wake();
  }

  takeSnapshot(): SnapshotData {
    this.snapshots++;
    const bytes = Buffer.from(JSON.stringify(this.commands));
    return {
      sizeBytes: bytes.length,
      chunks: async function* () {
        for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
      },
      release: () => {},
    };
  }

  async restore(snapshot: Snapshot): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of snapshot.data.chunks()) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (bytes.length !== snapshot.data.sizeBytes) throw new Error(`${bytes.length} bytes`);
    this.commands.splice(0, this.commands.length, ...JSON.parse(bytes.toString()));
    this.restores++;
    this.#wake();
  }

  get newest(): Transition | undefined {
    return this.transitions.at(-1);
  }

  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ done, resolve }));
  }

  #wake(): void {
    const ready = this.#waiting.filter(({ done }) => done());
    this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
    for (const { resolve } of ready) resolve();
  }
}

function command(text: string): Buffer {
  const bytes = Buffer.alloc(Math.ceil((Buffer.byteLength(text) + 1) / 8) * 8);
  bytes.write(text);
  return bytes;
}

function textOf(data: Buffer): string {
  return data.toString('utf8', 0, data.indexOf(0));
}

/** An empty data directory; with servers one whose log starts with their configuration. */
async function directoryFor(t: Test, servers: readonly Server[]): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dqlited-raft-host-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  if (servers.length === 0) return directory;
  const storage = { directory, disk: 'node', trailingEntries: 64, autoRecovery: false } as const;
  const store = openRaftStore(storage, nodeClock, nullLogger);
  await store.load();
  const data = encodeConfiguration({ servers });
  await store.persist({
    write: 1,
    vote: { term: 1 as Term, votedFor: undefined },
    snapshot: undefined,
    truncateFrom: undefined,
    append: [{ index: 1 as Index, term: 1 as Term, type: 'change', data }],
    // biome-ignore lint/suspicious/noThenProperty: the contract's name for what follows.
    then: [],
  });
  await store.close();
  return directory;
}

type Form = RaftHostOptions['form'];

/** One server: a listener that lets only peers in, and a Raft. */
class TestServer {
  readonly id: ServerId;
  readonly form: Form;
  readonly machine = new RecordingMachine();
  readonly sockets = new Set<Socket>();
  directory = '';
  cut = false;
  #listener = createServer((socket) => this.#accepted(socket));
  #host: RaftHost | undefined;
  #logs: string[] = [];

  constructor(id: bigint, form: Form) {
    this.id = id as ServerId;
    this.form = form;
  }

  async listen(): Promise<Server> {
    this.#listener.listen(0, '127.0.0.1');
    await once(this.#listener, 'listening');
    return { id: this.id, address: this.address, role: 'voter' };
  }

  get address(): string {
    return `127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  get host(): RaftHost {
    if (this.#host === undefined) throw new Error('not started');
    return this.#host;
  }

  async start(raft: Partial<RaftOptions> = {}): Promise<void> {
    const { form, id, address, machine, directory } = this;
    const times = { electionTimeoutMs: 500, heartbeatMs: 50 };
    const options: RaftHostOptions = {
      form,
      node: {
        self: { id, address },
        raft: raftOptions({ id, ...times, ...raft }),
        peers: peerLimits(times.electionTimeoutMs),
        backlogBytes: 1 << 20,
      },
      storage: { directory, disk: 'node', trailingEntries: 64, autoRecovery: false },
      logLevel: 'warn',
    };
    const logger = {
      ...nullLogger,
      warn: (_: object, message: string) => void this.#logs.push(message),
    };
    const fatal = (error: Error): void => {
      throw error;
    };
    this.#host = await startRaft(options, {
      machine,
      logger: { ...logger, child: () => logger },
      fatal,
    });
  }

  propose(text: string): void {
    const { consensus } = this.host;
    this.machine.own.set(consensus.propose(consensus.transition.term, command(text)), text);
  }

  async stop(): Promise<void> {
    this.#listener.close();
    for (const socket of this.sockets) socket.destroy();
    await this.#host?.stop();
  }

  #accepted(socket: Socket): void {
    // A peer that is earlier than our own start dials again.
    if (this.cut || this.#host === undefined) {
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => {});
    const framer = new Framer();
    const onData = (chunk: Buffer): void => {
      framer.push(chunk);
      framer.handshake();
      const frame = framer.next();
      if (frame === undefined) return;
      const request = decodeRequest(frame);
      if (request.kind !== 'connect') throw new Error('only peers come here');
      socket.off('data', onData);
      this.host.adoptPeer(
        socket,
        { id: request.id as ServerId, address: request.address },
        framer.takeRest(),
      );
    };
    socket.on('data', onData);
  }
}

async function clusterFor(
  t: Test,
  form: Form,
  size: number,
  raft: Partial<RaftOptions> = {},
): Promise<TestServer[]> {
  const servers = Array.from({ length: size }, (_, i) => new TestServer(BigInt(i + 1), form));
  const members = await Promise.all(servers.map((server) => server.listen()));
  for (const server of servers) server.directory = await directoryFor(t, members);
  t.teardown(() => Promise.all(servers.map((server) => server.stop())));
  await Promise.all(servers.map((server) => server.start(raft)));
  return servers;
}

async function leaderOf(servers: readonly TestServer[]): Promise<TestServer> {
  return Promise.race(
    servers.map(async (server) => {
      await server.machine.until(() => server.machine.newest?.ready === true);
      return server;
    }),
  );
}

for (const form of ['inline', 'thread'] as const) {
  t.test(
    `a sole voter leads, commits, reads, and knows it after a restart (${form})`,
    async (t) => {
      const [server] = await clusterFor(t, form, 1, { snapshotThreshold: 16, snapshotTrailing: 4 });
      if (server === undefined) throw new Error('one');
      const { machine } = server;
      await machine.until(() => machine.newest?.ready === true);

      const texts = Array.from({ length: 100 }, (_, i) => `command ${i}`);
      for (const text of texts) {
        server.propose(text);
        await machine.until(() => machine.commands.at(-1) === text);
      }

      t.same(machine.commands, texts);
      await server.host.consensus.confirmLeadership();
      t.ok(server.host.consensus.leaseHeld());
      t.ok(machine.snapshots > 0);
      await t.rejects(server.host.consensus.transfer(undefined), { code: 'serverNotFound' });
      const status = await server.host.status();
      t.equal(status.raft?.state, 'leader');
      while (((await server.host.status()).raft?.snapshotIndex ?? 0) === 0) {
        // The snapshot is still being written: asking again takes a turn of both threads.
      }

      await server.host.stop();
      t.notOk(server.host.consensus.leaseHeld());
      await t.rejects(server.host.consensus.confirmLeadership());
      const again = new TestServer(1n, 'inline');
      await again.listen();
      t.teardown(() => again.stop());
      again.directory = server.directory;
      await again.start();
      await again.machine.until(() => again.machine.commands.length === texts.length);
      t.same(again.machine.commands, texts);
      t.equal(again.machine.restores, 1);
    },
  );
}

t.test(
  'a failure in the thread, like a damaged directory, refuses the start and keeps its name',
  async (t) => {
    const server = new TestServer(1n, 'thread');
    const member = await server.listen();
    server.directory = await directoryFor(t, [member]);
    t.teardown(() => server.stop());
    const log = readdirSync(server.directory).find((name) => /^0+1-0+1$/.test(name)) ?? '';
    const path = join(server.directory, log);
    writeFileSync(path, readFileSync(path).fill(0xff, 8, 40));
    await t.rejects(server.start(), { name: 'StorageError', code: 'DQL_STORAGE' });
  },
);

t.test(
  'three servers elect, replicate, and survive a cut of every link of one of them',
  async (t) => {
    const servers = await clusterFor(t, 'inline', 3);
    const leader = await leaderOf(servers);
    const follower = servers.find((server) => server !== leader);
    if (follower === undefined) throw new Error('three');
    const texts = Array.from({ length: 300 }, (_, i) => `command ${i}`);
    for (const text of texts.slice(0, 100)) leader.propose(text);
    await follower.machine.until(() => follower.machine.commands.length === 100);

    follower.cut = true;
    for (const { sockets } of servers) for (const socket of sockets) socket.destroy();
    for (const text of texts.slice(100)) leader.propose(text);
    await leader.machine.until(() => leader.machine.commands.length === 300);
    follower.cut = false;

    for (const { machine } of servers) {
      await machine.until(() => machine.commands.length === 300);
      t.same(machine.commands, texts);
    }
    t.equal((await leader.host.status()).raft?.state, 'leader');
  },
);

t.test('leadership is handed over, and a server that joins late gets a snapshot', async (t) => {
  const servers = await clusterFor(t, 'inline', 2, { snapshotThreshold: 16, snapshotTrailing: 4 });
  const first = await leaderOf(servers);
  const second = servers.find((server) => server !== first);
  if (second === undefined) throw new Error('two');
  for (let i = 0; i < 100; i++) {
    first.propose(`command ${i}`);
    await first.machine.until(() => first.machine.commands.length === i + 1);
  }
  await first.host.consensus.transfer(second.id);
  await second.machine.until(() => second.machine.newest?.ready === true);
  t.equal(second.machine.newest?.leader?.id, second.id);

  const third = new TestServer(3n, 'inline');
  const { address } = await third.listen();
  third.directory = await directoryFor(t, []);
  t.teardown(() => third.stop());
  await third.start();
  const { consensus } = second.host;
  await consensus.change({ kind: 'add', id: third.id, address });
  await consensus.change({ kind: 'assign', id: third.id, role: 'voter' });
  await third.machine.until(() => third.machine.commands.length === 100);
  t.same(third.machine.commands, second.machine.commands);
  t.ok(third.machine.restores > 0, 'by a snapshot');
  await t.rejects(consensus.change({ kind: 'add', id: third.id, address }), {
    code: 'duplicateServerId',
  });
});

t.test(
  'a main thread that stands still costs neither leadership nor the progress of followers',
  async (t) => {
    const servers = await clusterFor(t, 'thread', 3);
    const leader = await leaderOf(servers);
    leader.propose('before');
    for (const { machine } of servers) await machine.until(() => machine.commands.length === 1);
    const { term } = leader.host.consensus.transition;
    const seenBefore = servers.map(({ machine }) => machine.transitions.length);

    for (let i = 0; i < 50; i++) leader.propose(`while blocked ${i}`);
    // The batch leaves at the end of this turn; in the next one nothing else runs here for six election timeouts.
    await new Promise((resolve) => setImmediate(resolve));
    const followers = servers.filter((server) => server !== leader);
    const arrivedMs = blockUntil(3000, () =>
      followers.every(({ directory }) => logHolds(directory, 'while blocked 49')),
    );

    t.ok(arrivedMs < 3000, 'the followers wrote it meanwhile');
    t.comment(`on the disks of the followers after ${arrivedMs} ms of a blocked main thread`);
    for (const { machine } of servers) {
      await machine.until(() => machine.commands.length === 51);
      t.equal(machine.commands.at(-1), 'while blocked 49');
    }
    leader.propose('after');
    for (const { machine } of servers) await machine.until(() => machine.commands.length === 52);
    t.equal(leader.host.consensus.transition.term, term, 'nobody started an election');
    t.same(
      servers.map(({ machine }) => machine.transitions.length),
      seenBefore,
    );
  },
);

/** Runs nothing else on this thread for so long; returns when `done` first held. */
function blockUntil(durationMs: number, done: () => boolean): number {
  const start = nodeClock.now();
  let doneMs = durationMs;
  while (nodeClock.now() - start < durationMs) {
    if (doneMs === durationMs && done()) doneMs = Math.round(nodeClock.now() - start);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
  return doneMs;
}

function logHolds(directory: string, text: string): boolean {
  const open = readdirSync(directory).filter((name) => name.startsWith('open-'));
  return open.some((name) => readFileSync(join(directory, name)).includes(text));
}
