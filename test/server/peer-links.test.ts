import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import t from 'tap';
import type { ServerId, Term } from '../../src/base/ids.ts';
import { DescriptorReceiver, DescriptorSender } from '../../src/server/peer-handover.ts';
import { peerLimits } from '../../src/server/peer-limits.ts';
import { type RelayMessage, RelayReceiver, RelaySender } from '../../src/server/peer-relay.ts';
import {
  append,
  dataOf,
  dialling,
  encoded,
  heartbeat,
  itemsIn,
  listen,
  messagesIn,
  meta,
  pass,
  result,
  turns,
  until,
  worldFor,
} from './peer-world.ts';

t.test(
  'a peer that refuses is dialled after growing pauses, never longer than the limit',
  async (t) => {
    const { dial, streams } = dialling();
    const world = worldFor(t, {}, { dial });
    const to = { id: 2n as ServerId, address: '127.0.0.1:21510' };
    const pauses: number[] = [];
    world.peers.send({ to, message: heartbeat(1) });
    for (let attempt = 1; attempt <= 12; attempt++) {
      streams.at(-1)?.destroy(new Error('refused'));
      await until(() => world.unreachable.length === attempt);
      world.peers.send({ to, message: heartbeat(1) });
      const failedAt = world.clock.now();
      while (streams.length === attempt) world.clock.advance(1);
      pauses.push(world.clock.now() - failedAt);
    }
    const bound = (attempt: number) => Math.min(20 * 2 ** attempt, 1000);
    const outside = pauses.filter((pause, i) => pause > bound(i) || pause < bound(i) / 2);
    t.same(outside, [], `${pauses}`);
    t.equal(world.peers.status()[0]?.lastError, 'refused');
  },
);

t.test('a peer that nobody writes to any more is not dialled again', async (t) => {
  const { dial, streams } = dialling();
  const world = worldFor(t, {}, { dial });
  world.peers.send({
    to: { id: 2n as ServerId, address: '127.0.0.1:21510' },
    message: heartbeat(1),
  });
  streams[0]?.destroy(new Error('refused'));
  await until(() => world.unreachable.length === 1);
  world.clock.advance(100_000);
  t.equal(streams.length, 1);
  t.equal(world.peers.status()[0]?.outbound, 'idle');
});

t.test('an attempt that takes too long is given up', async (t) => {
  const { dial, streams } = dialling();
  const world = worldFor(t, {}, { dial });
  world.peers.send({
    to: { id: 2n as ServerId, address: '127.0.0.1:21510' },
    message: heartbeat(1),
  });
  world.clock.advance(peerLimits(3000).connectTimeoutMs);
  t.same(world.unreachable, [2n]);
  t.ok(streams[0]?.destroyed);
});

t.test(
  'a link that worked is dialled again at once, and what is still of use is sent again',
  async (t) => {
    const { dial, streams } = dialling();
    const world = worldFor(t, {}, { dial });
    const to = { id: 2n as ServerId, address: '127.0.0.1:21510' };
    world.peers.send({ to, message: heartbeat(1) });
    streams[0]?.emit('connect');
    world.clock.advance(1000);
    streams[0]?.destroy(new Error('reset'));
    await until(() => world.unreachable.length === 1);
    t.equal(streams.length, 2, 'without a pause');
    streams[1]?.emit('connect');
    streams[1]?.destroy(new Error('reset'));
    await until(() => world.unreachable.length === 2);
    t.equal(streams.length, 2, 'a link that breaks at once waits');
  },
);

t.test('another address for the same id is dialled instead', async (t) => {
  const { dial, streams, addresses } = dialling();
  const world = worldFor(t, {}, { dial });
  const id = 2n as ServerId;
  world.peers.send({ to: { id, address: '127.0.0.1:21510' }, message: heartbeat(1) });
  streams[0]?.emit('connect');
  world.peers.send({ to: { id, address: 'localhost:21510' }, message: heartbeat(1) });
  t.same(addresses, ['127.0.0.1:21510', 'localhost:21510']);
  t.ok(streams[0]?.destroyed);
});

t.test('host names, IPv6 and abstract unix sockets are reached', async (t) => {
  const world = worldFor(t);
  let id = 2n;
  for (const host of ['localhost', '::1', `@dqlited-peers-${process.pid}`]) {
    const peer = await listen(t, host);
    const to = { id: id++ as ServerId, address: peer.address };
    world.peers.send({ to, message: heartbeat(1) });
    await until(() => peer.bytes().length > 40 && messagesIn(peer.bytes()).length === 1);
    t.same(messagesIn(peer.bytes()), ['appendEntries'], host);
  }
});

t.test(
  'what one turn of the loop sends arrives in order, of its heartbeats the newest',
  async (t) => {
    const peer = await listen(t);
    const world = worldFor(t);
    const to = { id: 2n as ServerId, address: peer.address };
    const sent = [result(1), append(1, 8), heartbeat(1), append(1, 4096), heartbeat(1)];
    for (const message of sent) world.peers.send({ to, message });
    await until(() => peer.bytes().length > 4096 && messagesIn(peer.bytes()).length === 4);
    t.same(
      messagesIn(peer.bytes()),
      ['appendEntriesResult', 'appendEntries', 'appendEntries', 'appendEntries'],
      'the newer heartbeat took the place of the older',
    );
  },
);

for (const reads of ['at once', 'late']) {
  t.test(
    `long and short messages arrive byte for byte at a peer that reads ${reads}`,
    async (t) => {
      const peer = await listen(t, '127.0.0.1', false);
      const world = worldFor(t, { queuedBytes: 1 << 28 });
      const to = { id: 2n as ServerId, address: peer.address };
      const chunks: Buffer[] = [];
      const read = (socket: Socket | undefined) =>
        socket?.on('data', (chunk) => void chunks.push(chunk)).resume();
      world.peers.send({ to, message: heartbeat(1) });
      await until(() => peer.sockets.length === 1);
      if (reads === 'at once') read(peer.sockets[0]);

      const sent = [heartbeat(1)];
      for (let round = 0; round < 30; round++) {
        const sizes = Array.from(
          { length: 1 + ((round * 7) % 40) },
          (_, i) => 8 + 8 * ((i * 97) % 700),
        );
        if (round % 10 === 5) sizes.push(3 * peerLimits(3000).writeBytes + 8);
        const entries = sizes.map((size, i) => ({
          ...append(1, size).entries[0],
          data: Buffer.alloc(size, round * 41 + i),
        })) as (typeof sent)[0]['entries'];
        const message = { ...heartbeat(1), entries };
        sent.push(message);
        world.peers.send({ to, message });
        if (round % 3 === 0) await turns(1);
      }
      await turns(20);
      if (reads === 'late') read(peer.sockets[0]);
      const wanted = Buffer.concat(sent.map(encoded));
      await until(() => chunks.reduce((sum, { length }) => sum + length, 0) > wanted.length);
      t.ok(Buffer.concat(chunks).subarray(-wanted.length).equals(wanted));
    },
  );
}

t.test(
  'a peer that does not read costs no more memory than the limit, and Raft hears of it',
  async (t) => {
    const peer = await listen(t, '127.0.0.1', false);
    const queuedBytes = 1 << 20;
    const world = worldFor(t, { queuedBytes });
    const to = { id: 2n as ServerId, address: peer.address };
    let most = 0;
    for (let i = 0; i < 400; i++) {
      world.peers.send({ to, message: append(1, 64 * 1024) });
      most = Math.max(most, world.peers.status()[0]?.queuedBytes ?? 0);
      await turns(1);
    }
    t.ok(most <= queuedBytes, `${most} bytes`);
    t.ok(world.unreachable.length > 0);

    await pass(world, peerLimits(3000).writeTimeoutMs * 1.5);
    await until(() => peer.sockets.length === 2);
    t.match(world.peers.status()[0]?.lastError, /nothing written|no answer/);
  },
);

t.test('a peer that takes everything and answers nothing is dialled anew', async (t) => {
  const peer = await listen(t);
  const world = worldFor(t);
  const to = { id: 2n as ServerId, address: peer.address };
  world.peers.send({ to, message: heartbeat(1) });
  await until(() => peer.bytes().length > 40);
  await pass(world, peerLimits(3000).silenceTimeoutMs * 1.5);
  await until(() => peer.sockets.length === 2);
  t.same(world.unreachable, [2n]);
  t.match(world.peers.status()[0]?.lastError, /no answer/);
});

t.test('a peer that answers, or that is asked nothing, keeps its link', async (t) => {
  const peer = await listen(t);
  const world = worldFor(t);
  const to = { id: 2n as ServerId, address: peer.address };
  const inbound = new PassThrough();
  world.peers.adopt(inbound, to, Buffer.alloc(0));
  for (let i = 0; i < 10; i++) {
    world.peers.send({ to, message: heartbeat(1) });
    await pass(world, 3000);
    inbound.write(encoded(result(1)));
    await until(() => world.received.length === i + 1);
  }
  world.peers.send({ to, message: result(1) });
  await pass(world, 100_000);
  t.equal(peer.sockets.length, 1);
  t.same(world.unreachable, []);
});

t.test('a snapshot leaves whole, and the newest of what came meanwhile behind it', async (t) => {
  const peer = await listen(t);
  const world = worldFor(t);
  const to = { id: 2n as ServerId, address: peer.address, role: 'voter' } as const;
  const chunks = Array.from({ length: 50 }, (_, i) => Buffer.alloc(65_537, i));
  const sending = world.peers.sendSnapshot(to, 1 as Term, { meta, data: dataOf(chunks) });
  for (let i = 0; i < 5; i++) world.peers.send({ to, message: heartbeat(1, i) });
  world.peers.send({ to, message: append(1, 8) });
  world.peers.send({ to, message: result(1) });
  t.equal(await sending, true);
  await until(
    () => peer.bytes().length > 0 && messagesIn(peer.bytes()).includes('appendEntriesResult'),
  );

  const items = itemsIn(peer.bytes());
  const bytes = Buffer.concat(
    items.flatMap((item) => (item.kind === 'snapshotChunk' ? [item.bytes] : [])),
  );
  t.equal(Buffer.compare(bytes, Buffer.concat(chunks)), 0);
  t.same(
    items.map(({ kind }) => kind).filter((kind) => kind !== 'snapshotChunk'),
    ['installSnapshot', 'appendEntries', 'appendEntriesResult'],
  );
});

t.test('a snapshot that a newer term makes useless is broken off', async (t) => {
  const peer = await listen(t, '127.0.0.1', false);
  const world = worldFor(t);
  const to = { id: 2n as ServerId, address: peer.address, role: 'voter' } as const;
  const chunks = Array.from({ length: 500 }, () => Buffer.alloc(65_536));
  const sending = world.peers.sendSnapshot(to, 1 as Term, { meta, data: dataOf(chunks) });
  await until(() => peer.sockets.length === 1);
  await turns(200);
  world.peers.send({ to, message: result(2) });
  t.equal(await sending, false);

  const again = world.peers.sendSnapshot(to, 2 as Term, { meta, data: dataOf(chunks) });
  await turns(200);
  world.peers.abandonSnapshots();
  t.equal(await again, false, 'nor when this server leads no more');
});

t.test('a snapshot that nobody takes, or that cannot be read, has not left', async (t) => {
  const { dial, streams } = dialling();
  const world = worldFor(t, {}, { dial });
  const to = { id: 2n as ServerId, address: '127.0.0.1:21510', role: 'voter' } as const;
  const refused = world.peers.sendSnapshot(to, 1 as Term, { meta, data: dataOf([]) });
  streams[0]?.destroy(new Error('refused'));
  t.equal(await refused, false);

  const unreadable = {
    ...dataOf([], 10),
    chunks: async function* () {
      yield Buffer.alloc(5);
      throw new Error('EIO');
    },
  };
  const failing = world.peers.sendSnapshot(to, 1 as Term, { meta, data: unreadable });
  world.clock.advance(1000);
  streams[1]?.emit('connect');
  t.equal(await failing, false);
  t.ok(streams[1]?.destroyed, 'the peer waits for bytes that will not come');
});

t.test(
  'a socket changes hands with the bytes that were read and the bytes that follow',
  async (t) => {
    const sender = new DescriptorSender();
    const sockets = new Map<number, Socket>();
    const receiver = new DescriptorReceiver(sender.address, {
      probed: () => sender.confirmed(),
      received: (number, socket) => void sockets.set(number, socket),
    });
    t.teardown(() => {
      sender.close();
      receiver.close();
    });
    t.equal(await sender.works(), true);

    for (const host of ['127.0.0.1', `@dqlited-handover-${process.pid}`]) {
      sockets.clear();
      const peer = await listen(t, host, false);
      const client = connect(
        host.startsWith('@')
          ? { path: `\0${host.slice(1)}` }
          : { port: Number(peer.address.split(':')[1]) },
      );
      t.teardown(() => client.destroy());
      client.write('before ');
      await until(() => peer.sockets.length === 1);
      const accepted = peer.sockets[0];
      if (accepted === undefined) throw new Error('accepted');
      accepted.read(0);
      await until(() => accepted.readableLength > 0);
      t.equal(String(sender.send(7, accepted)), 'before ');
      await until(() => accepted.destroyed && sockets.has(7));
      const moved = sockets.get(7);
      client.write('after');
      const [bytes] = await once(moved ?? client, 'data');
      t.equal(String(bytes), 'after');
      moved?.write('answer');
      const [answer] = await once(client, 'data');
      t.equal(String(answer), 'answer');
      moved?.destroy();
      await once(client, 'close');
    }
  },
);

t.test(
  'where sockets cannot change hands their bytes are relayed, a window at a time',
  async (t) => {
    const peer = await listen(t, '127.0.0.1', false);
    const client = connect(Number(peer.address.split(':')[1]));
    t.teardown(() => client.destroy());
    await until(() => peer.sockets.length === 1);
    const inFlight: RelayMessage[] = [];
    let held = false;
    const receiver: RelayReceiver = new RelayReceiver((message) => sender.receive(message));
    const sender = new RelaySender(
      (message) => void (held ? inFlight.push(message) : receiver.receive(message)),
    );
    const stream = receiver.add(1);
    sender.add(1, peer.sockets[0] as Socket);
    held = true;
    const sent = Buffer.alloc(16 * 1024 * 1024, 'x');
    client.write(sent);
    await turns(500);
    const waiting = inFlight.reduce(
      (sum, m) => sum + (m.type === 'relayBytes' ? m.bytes.length : 0),
      0,
    );
    t.ok(waiting < 1.5 * 1024 * 1024, `${waiting} bytes`);
    held = false;
    for (const message of inFlight) receiver.receive(message);
    let received = 0;
    for await (const bytes of stream) {
      received += (bytes as Buffer).length;
      if (received === sent.length) break;
    }
    t.equal(received, sent.length);
    await once(client, 'close');
  },
);
