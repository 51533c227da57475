import { PassThrough } from 'node:stream';
import t from 'tap';
import type { ServerId } from '../../src/base/ids.ts';
import {
  dataOf,
  encoded,
  itemsIn,
  listen,
  recording,
  result,
  self,
  snapshotHeader,
  turns,
  until,
  withoutGarbage,
  worldFor,
} from './peer-world.ts';

const counts = {
  'v111/conn000_1-2': {
    appendEntries: 92,
    appendEntriesResult: 10,
    requestVoteResult: 1,
    timeoutNow: 1,
  },
  'v111/conn001_2-1': { appendEntries: 10, appendEntriesResult: 92, requestVote: 1 },
  'v111/conn002_1-3': { appendEntries: 9, installSnapshot: 1 },
  'head/conn000_1-2': undefined,
  'head/conn001_2-1': undefined,
  'head/conn002_1-3': undefined,
  'head/conn006_2-1': undefined,
};

for (const [name, expected] of Object.entries(counts)) {
  t.test(`the recorded stream ${name} is understood, however it is cut`, async (t) => {
    const { id, address, rest } = recording(name);
    for (const pieceBytes of [7, 1000, rest.length]) {
      const world = worldFor(t);
      const stream = new PassThrough();
      world.peers.adopt(stream, { id: id as ServerId, address }, rest.subarray(0, 5));
      for (let at = 5; at < rest.length; at += pieceBytes) {
        stream.write(rest.subarray(at, at + pieceBytes));
      }
      const items = itemsIn(recording(name).all).filter(({ kind }) => kind !== 'snapshotChunk');
      await until(() => world.received.length === items.length);

      const seen: Record<string, number> = {};
      for (const { message } of world.received) seen[message.kind] = (seen[message.kind] ?? 0) + 1;
      if (expected !== undefined) t.match(seen, expected);
      t.same(world.warnings, []);
      t.same(
        world.received.map(({ message }) => message.kind),
        items.map(({ kind }) => kind),
      );
    }
  });
}

t.test('the snapshots of both C versions reach the store byte for byte', async (t) => {
  for (const [name, sizeBytes] of [
    ['v111/conn002_1-3', 267880],
    ['head/conn002_1-3', 16448],
  ] as const) {
    const { id, address, rest } = recording(name);
    const world = worldFor(t, { snapshotQueuedBytes: 10_000 });
    const stream = new PassThrough();
    world.peers.adopt(stream, { id: id as ServerId, address }, Buffer.alloc(0));
    stream.write(rest);
    await until(() =>
      world.received.some(
        ({ message }) => message.kind === 'timeoutNow' || message.kind === 'installSnapshot',
      ),
    );
    const [stored] = world.stored;
    t.equal(stored?.bytes.length, sizeBytes);
    t.ok(stored !== undefined && rest.includes(stored.bytes), 'the bytes are those on the wire');
    t.equal(stored?.meta.index, 64);
    t.equal(stored?.meta.configuration.servers.length, 2);
    t.same(world.arriving, [1]);
  }
});

t.test(
  'what is sent is what a C server sent, but for bytes that it leaves undefined',
  async (t) => {
    const { all, id, address, rest } = recording('head/conn000_1-2');
    const peer = await listen(t);
    const world = worldFor(t, {}, { self: { id: id as ServerId, address } });
    const to = { id: 2n as ServerId, address: peer.address };
    let expectedBytes = all.length - rest.length;
    for (const item of itemsIn(all)) {
      if (item.kind === 'snapshotChunk' || item.kind === 'installSnapshot') throw new Error('none');
      world.peers.send({ to, message: item });
      expectedBytes += encoded(item).length;
      await until(() => peer.bytes().length >= expectedBytes);
    }
    const [ours, theirs] = [peer.bytes(), all].map((bytes) => [
      bytes.subarray(0, all.length - rest.length),
      withoutGarbage(bytes.subarray(all.length - rest.length)),
    ]) as [Buffer[], Buffer[]];
    t.equal(Buffer.compare(ours[0] ?? peer.bytes(), theirs[0] ?? all), 0, 'handshake and CONNECT');
    t.equal(Buffer.compare(ours[1] ?? peer.bytes(), theirs[1] ?? all), 0, 'messages');
  },
);

/** A frame with any header and payload. */
function frame(
  type: number,
  header: Buffer,
  payload = Buffer.alloc(0),
  headerBytes = header.length,
): Buffer {
  const preamble = Buffer.alloc(16);
  preamble.writeUInt32LE(type, 0);
  preamble.writeBigUInt64LE(BigInt(headerBytes), 8);
  return Buffer.concat([preamble, header, payload]);
}

function entryOf(type: number, sizeBytes: number): Buffer {
  const header = Buffer.alloc(48 + 16);
  header.writeUInt32LE(1, 0);
  header.writeUInt32LE(1, 32);
  header.writeUInt32LE(1, 40);
  header[48] = type;
  header.writeUInt32LE(sizeBytes, 52);
  return header;
}

const nonsense: { readonly [input: string]: Buffer } = {
  'a header of no bytes': frame(1, Buffer.alloc(0)),
  'a header beyond 4 MiB': frame(1, Buffer.alloc(0), Buffer.alloc(0), 4 * 1024 * 1024 + 8),
  'a header of 2^63 bytes': frame(1, Buffer.alloc(0), Buffer.alloc(0), Number.MAX_SAFE_INTEGER),
  'type 0': frame(0, Buffer.alloc(24)),
  'type 7': frame(7, Buffer.alloc(24)),
  'a vote request of 24 bytes': frame(3, Buffer.alloc(24)),
  'a vote request of 48 bytes': frame(3, Buffer.alloc(48)),
  'a vote result of 8 bytes': frame(4, Buffer.alloc(8)),
  'a TimeoutNow of 32 bytes': frame(6, Buffer.alloc(32)),
  'an entry of type 4': frame(1, entryOf(4, 8), Buffer.alloc(8)),
  'an entry of length 5': frame(1, entryOf(1, 5), Buffer.alloc(8)),
  'an entry of length 0': frame(1, entryOf(1, 0)),
  'an entry of 501 MiB': frame(1, entryOf(1, 501 * 1024 * 1024)),
  'more entries than the header holds': frame(1, Buffer.alloc(48, 0xff)),
  'a configuration that is none': frame(5, Buffer.alloc(56, 1)),
  'a term beyond 2^53': frame(6, Buffer.alloc(24, 0xff)),
  'a request of a client': Buffer.from('0100000000000000000000000000000000000000', 'hex'),
};

t.test('nonsense ends the connection it came on and nothing else', async (t) => {
  const world = worldFor(t, { warningIntervalMs: 0 });
  const good = new PassThrough();
  world.peers.adopt(good, { id: 2n as ServerId, address: 'b:1' }, Buffer.alloc(0));
  for (const [input, bytes] of Object.entries(nonsense)) {
    const bad = new PassThrough();
    world.peers.adopt(bad, { id: 3n as ServerId, address: 'c:1' }, encoded(result(1)));
    const before = world.received.length;
    bad.write(bytes);
    await turns(5);
    t.ok(bad.destroyed, input);
    good.write(encoded(result(1)));
    await until(() => world.received.length > before);
    t.equal(world.received.at(-1)?.from, 2n, input);
  }
  t.equal(world.warnings.length, Object.keys(nonsense).length);
});

t.test('a peer that speaks nonsense all day is logged once in a while', async (t) => {
  const world = worldFor(t, { warningIntervalMs: 10_000 });
  for (let i = 0; i < 100; i++) {
    const bad = new PassThrough();
    world.peers.adopt(bad, { id: 3n as ServerId, address: 'c:1' }, frame(7, Buffer.alloc(8)));
    await turns(2);
    world.clock.advance(200);
  }
  t.equal(world.warnings.length, 2);
});

t.test('a newer connection of the same server replaces the older', async (t) => {
  const world = worldFor(t);
  const [older, newer] = [new PassThrough(), new PassThrough()];
  for (const stream of [older, newer]) {
    world.peers.adopt(stream, { id: 2n as ServerId, address: 'b:1' }, Buffer.alloc(0));
  }
  newer.write(encoded(result(1)));
  await until(() => world.received.length === 1);
  t.ok(older.destroyed);
  t.notOk(newer.destroyed);
  t.same(world.disconnected, [], 'it is still there');
  newer.write(encoded(result(2)));
  newer.end();
  await until(() => world.disconnected.length === 1);
  t.equal(world.received.length, 2, 'what it sent before comes first');
  t.same(world.disconnected, [2n]);
});

t.test('servers that are not members are let in up to a limit, members always', async (t) => {
  const world = worldFor(t, { strangers: 3 });
  const role = 'voter';
  world.peers.setMembers({ servers: [{ id: 2n as ServerId, address: 'b:1', role }] });
  const streams = [2n, 10n, 11n, 12n, 13n, 14n, 0n, self.id].map((id) => {
    const stream = new PassThrough();
    world.peers.adopt(stream, { id: id as ServerId, address: `x:${id}` }, Buffer.alloc(0));
    return stream;
  });
  t.same(
    streams.map(({ destroyed }) => destroyed),
    [false, true, true, false, false, false, true, true],
  );
});

t.test('nothing is read while the server is behind', async (t) => {
  const world = worldFor(t);
  const [early, late] = [new PassThrough(), new PassThrough()];
  world.peers.adopt(early, { id: 2n as ServerId, address: 'b:1' }, Buffer.alloc(0));
  world.peers.pauseReading();
  world.peers.adopt(late, { id: 3n as ServerId, address: 'c:1' }, encoded(result(1)));
  for (let i = 0; i < 10; i++) early.write(encoded(result(1)));
  await turns();
  t.equal(world.received.length, 0);
  world.peers.resumeReading();
  await until(() => world.received.length === 11);
});

t.test('an arriving snapshot waits for the disk, not in memory', async (t) => {
  let step: () => void = () => {};
  const world = worldFor(
    t,
    { snapshotQueuedBytes: 1000 },
    {
      store: {
        receiveSnapshot: async (meta, chunks) => {
          for await (const _chunk of chunks) await new Promise<void>((resolve) => (step = resolve));
          return { meta, data: dataOf([]) };
        },
      },
    },
  );
  const stream = new PassThrough();
  world.peers.adopt(stream, { id: 2n as ServerId, address: 'b:1' }, Buffer.alloc(0));
  stream.write(encoded({ ...snapshotHeader, dataSize: 100_000 }));
  let refused = 0;
  for (let i = 0; i < 100; i++) {
    if (!stream.write(Buffer.alloc(1000))) refused++;
    await turns(1);
  }
  t.ok(refused > 0, 'the stream is paused');
  stream.write(encoded(result(1)));
  while (world.received.length < 2) {
    step();
    await turns(1);
  }
  t.same(
    world.received.map(({ message }) => message.kind),
    ['installSnapshot', 'appendEntriesResult'],
  );
});

t.test('a connection that ends in the middle of a snapshot leaves nothing behind', async (t) => {
  let failed: unknown;
  const world = worldFor(
    t,
    {},
    {
      store: {
        receiveSnapshot: async (_meta, chunks) => {
          try {
            for await (const chunk of chunks) void chunk;
            throw new Error('it did not end');
          } catch (error) {
            failed = error;
            throw error;
          }
        },
      },
    },
  );
  const stream = new PassThrough();
  world.peers.adopt(stream, { id: 2n as ServerId, address: 'b:1' }, Buffer.alloc(0));
  stream.write(encoded({ ...snapshotHeader, dataSize: 100 }));
  stream.write(Buffer.alloc(50));
  await turns();
  stream.destroy();
  await until(() => failed !== undefined);
  t.match(failed, { message: /middle of a snapshot/ });
  t.same(world.received, []);
});
