import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import type { Test } from 'tap';
import type { Clock } from '../../src/base/clock.ts';
import type { Index, Instant, ServerId, Term } from '../../src/base/ids.ts';
import { type Logger, nullLogger } from '../../src/base/logger.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Framer } from '../../src/protocol/framer.ts';
import { encodePeerMessage } from '../../src/protocol/peer-codec.ts';
import { PeerFramer } from '../../src/protocol/peer-framer.ts';
import type { WirePeerMessage } from '../../src/protocol/peer-messages.ts';
import { decodeRequest } from '../../src/protocol/requests.ts';
import type { PeerMessage } from '../../src/raft/messages.ts';
import type { SnapshotData, SnapshotMeta } from '../../src/raft/types.ts';
import { type PeerLimits, peerLimits } from '../../src/server/peer-limits.ts';
import { Peers, type PeersParts } from '../../src/server/peers.ts';

/** Virtual time; turns of the loop are real, because the sockets are. */
export class TestClock implements Clock {
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];

  now(): Instant {
    return this.#now as Instant;
  }

  after(delayMs: number, run: () => void): { cancel(): void } {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  nextTurn(run: () => void): void {
    setImmediate(run);
  }

  advance(durationMs: number): void {
    const end = this.#now + durationMs;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }
}

export interface World {
  readonly peers: Peers;
  readonly clock: TestClock;
  readonly received: { from: bigint; message: PeerMessage }[];
  readonly unreachable: bigint[];
  readonly disconnected: bigint[];
  readonly arriving: number[];
  readonly warnings: string[];
  readonly stored: { meta: SnapshotMeta; bytes: Buffer }[];
}

export const self = { id: 9n as ServerId, address: '127.0.0.1:21509' };

export function worldFor(
  t: Test,
  limits: Partial<PeerLimits> = {},
  parts: Partial<PeersParts> = {},
): World {
  const clock = new TestClock();
  const world = {
    clock,
    received: [] as World['received'],
    unreachable: [] as bigint[],
    disconnected: [] as bigint[],
    arriving: [] as number[],
    warnings: [] as string[],
    stored: [] as World['stored'],
  };
  const logger: Logger = {
    ...nullLogger,
    warn: (_fields, message) => void world.warnings.push(message),
    child: () => nullLogger,
  };
  const peers = new Peers({
    self,
    limits: { ...peerLimits(3000), ...limits },
    clock,
    random: seededRandom(1),
    logger,
    store: {
      receiveSnapshot: async (meta, chunks) => {
        const bytes: Uint8Array[] = [];
        for await (const chunk of chunks) bytes.push(chunk);
        world.stored.push({ meta, bytes: Buffer.concat(bytes) });
        return { meta, data: dataOf([]) };
      },
    },
    events: {
      received: (from, message) => void world.received.push({ from: from.id, message }),
      disconnected: (peer) => void world.disconnected.push(peer),
      unreachable: (peer) => void world.unreachable.push(peer),
      snapshotArriving: (_from, term) => void world.arriving.push(term),
    },
    ...parts,
  });
  t.teardown(() => peers.close());
  return { ...world, peers };
}

export function dataOf(chunks: readonly Uint8Array[], sizeBytes?: number): SnapshotData {
  return {
    sizeBytes: sizeBytes ?? chunks.reduce((bytes, chunk) => bytes + chunk.length, 0),
    chunks: async function* () {
      yield* chunks;
    },
    release: () => {},
  };
}

/** Polls once per turn of the loop: for things that only the kernel decides. */
export async function until(done: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`never came: ${done}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A stream as a C server sent it: all bytes, and those behind CONNECT. */
export function recording(name: string): {
  all: Buffer;
  id: bigint;
  address: string;
  rest: Buffer;
} {
  const path = new URL(`../fixtures/raft/${name}.bin.gz`, import.meta.url);
  const all = gunzipSync(readFileSync(path));
  const framer = new Framer();
  framer.push(all);
  framer.handshake();
  const frame = framer.next();
  const request = frame && decodeRequest(frame);
  if (request?.kind !== 'connect') throw new Error('a recording starts with CONNECT');
  return { all, id: request.id, address: request.address, rest: framer.takeRest() };
}

export interface Accepted {
  readonly server: Server;
  readonly address: string;
  readonly sockets: Socket[];
  readonly bytes: () => Buffer;
}

/** A peer that takes connections and remembers what came. */
export async function listen(t: Test, host = '127.0.0.1', reading = true): Promise<Accepted> {
  const sockets: Socket[] = [];
  const chunks: Buffer[] = [];
  const server = createServer({ pauseOnConnect: !reading }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    if (reading) socket.on('data', (chunk) => void chunks.push(chunk));
  });
  const path = host.startsWith('@') ? { path: `\0${host.slice(1)}` } : { host, port: 0 };
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const bound = server.address();
  const port = typeof bound === 'object' ? bound?.port : undefined;
  const address = port === undefined ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return { server, address, sockets, bytes: () => Buffer.concat(chunks) };
}

export function heartbeat(
  term: number,
  prevIndex = 0,
): WirePeerMessage & { kind: 'appendEntries' } {
  return {
    kind: 'appendEntries',
    term: term as Term,
    prevIndex: prevIndex as Index,
    prevTerm: 1 as Term,
    leaderCommit: 0 as Index,
    entries: [],
    round: 0,
  };
}

export function append(
  term: number,
  sizeBytes: number,
): WirePeerMessage & { kind: 'appendEntries' } {
  const data = Buffer.alloc(sizeBytes, 7);
  const entry = { index: 1 as Index, term: term as Term, type: 'command', data } as const;
  return { ...heartbeat(term), entries: [entry] };
}

export function result(term: number): WirePeerMessage & { kind: 'appendEntriesResult' } {
  return {
    kind: 'appendEntriesResult',
    term: term as Term,
    rejected: 0 as Index,
    lastIndex: 1 as Index,
    round: 0,
  };
}

export function encoded(message: WirePeerMessage): Buffer {
  return Buffer.concat(encodePeerMessage(message));
}

/** What lies behind CONNECT in what a peer received. */
export function messagesIn(bytes: Buffer): WirePeerMessage['kind'][] {
  return itemsIn(bytes).map(({ kind }) => kind) as WirePeerMessage['kind'][];
}

export function itemsIn(bytes: Buffer): NonNullable<ReturnType<PeerFramer['next']>>[] {
  const framer = new PeerFramer();
  framer.push(bytes.subarray(8 + 8 + bytes.readUInt32LE(8) * 8));
  const items: NonNullable<ReturnType<PeerFramer['next']>>[] = [];
  for (let item = framer.next(); item !== undefined; item = framer.next()) items.push(item);
  return items;
}

/** What C servers leave undefined: the last word of an AppendEntries header, 3 bytes of each entry's. */
export function withoutGarbage(recorded: Buffer): Buffer {
  const bytes = Buffer.from(recorded);
  let at = 0;
  while (at < bytes.length) {
    const header = at + 16;
    const headerBytes = bytes.readUInt32LE(at + 8);
    let payloadBytes = 0;
    if (bytes[at] === 1) {
      const count = bytes.readUInt32LE(header + 32);
      for (let i = 0; i < count; i++) {
        const entry = header + 40 + 16 * i;
        bytes.fill(0, entry + 9, entry + 12);
        payloadBytes += bytes.readUInt32LE(entry + 12);
      }
      bytes.fill(0, header + 40 + 16 * count, header + headerBytes);
    }
    at = header + headerBytes + payloadBytes;
  }
  return bytes;
}

/** Ten milliseconds of real turns: long enough for loopback to bring what would come. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets virtual time pass no faster than loopback answers. */
export async function pass({ clock }: World, durationMs: number): Promise<void> {
  for (let passed = 0; passed < durationMs; passed += 250) {
    clock.advance(250);
    await turns(5);
  }
}

/** Streams that never connect by themselves, one for each attempt. */
export function dialling(): {
  dial: (address: string) => Duplex;
  streams: Duplex[];
  addresses: string[];
} {
  const streams: Duplex[] = [];
  const addresses: string[] = [];
  const dial = (address: string): Duplex => {
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    streams.push(stream);
    addresses.push(address);
    return stream;
  };
  return { dial, streams, addresses };
}

export const snapshotHeader = {
  kind: 'installSnapshot',
  term: 1 as Term,
  lastIndex: 64 as Index,
  lastTerm: 1 as Term,
  configurationIndex: 1 as Index,
  configuration: { servers: [{ id: 1n as ServerId, address: 'a:1', role: 'voter' }] },
  dataSize: 0,
} as const;

export const meta: SnapshotMeta = {
  index: 64 as Index,
  term: 1 as Term,
  configurationIndex: 1 as Index,
  configuration: snapshotHeader.configuration,
};
