import { connect } from 'node:net';
import { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import type { ServerId } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { type PeerLimits, peerLimits } from '../../src/server/peer-limits.ts';
import { PeerOutlet } from '../../src/server/peer-outlet.ts';
import {
  type Accepted,
  append,
  encoded,
  itemsIn,
  listen,
  result,
  TestClock,
  turns,
  until,
  worldFor,
} from './peer-world.ts';

const limits = peerLimits(3000);

interface Opened {
  readonly outlet: PeerOutlet;
  readonly stream: Duplex;
  readonly clock: TestClock;
  readonly failures: Error[];
}

async function open(t: Test, stream: Duplex, some: Partial<PeerLimits> = {}): Promise<Opened> {
  const clock = new TestClock();
  const failures: Error[] = [];
  let isOpen = false;
  const outlet = new PeerOutlet(stream, { ...limits, ...some }, clock, {
    opened: () => {
      isOpen = true;
    },
    failed: (error) => void failures.push(error),
    silentSince: () => undefined,
  });
  t.teardown(() => outlet.destroy());
  await until(() => isOpen);
  return { outlet, stream, clock, failures };
}

function dial(t: Test, peer: Accepted, some?: Partial<PeerLimits>): Promise<Opened> {
  const [host, port] = peer.address.split(':');
  return open(t, connect(Number(port), host), some);
}

function noise(length: number, seed: number): Buffer {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length }, () => random.int(0, 255)));
}

/** Writes until the kernel has no room: what was written, and the write that is under way. */
function fill(outlet: PeerOutlet): { sent: Buffer[]; pending: { done: boolean } } {
  const sent: Buffer[] = [];
  for (;;) {
    const piece = noise(50_000, sent.length + 1);
    const parts = [piece.subarray(0, 8), piece.subarray(8, 20_000), piece.subarray(20_000)];
    const pending = { done: false };
    sent.push(piece);
    outlet.write(parts, () => {
      pending.done = true;
    });
    if (!pending.done) return { sent, pending };
  }
}

t.test('an outlet is free again at once when the kernel took everything', async (t) => {
  const peer = await listen(t);
  const { outlet } = await dial(t, peer);
  let done = 0;
  outlet.write([Buffer.from('one')], () => done++);
  t.equal(outlet.writing, false);
  outlet.write([Buffer.from('two'), Buffer.from('three')], () => done++);
  t.equal(outlet.writing, false);
  t.equal(done, 2, 'before the call returned');
  await until(() => peer.bytes().length === 11);
  t.equal(peer.bytes().toString(), 'onetwothree');
});

t.test('more buffers than the kernel takes in one call arrive byte for byte', async (t) => {
  const peer = await listen(t);
  const { outlet } = await dial(t, peer);
  const buffers = Array.from({ length: 3000 }, (_, i) => noise(1 + (i % 300), i));
  const expected = Buffer.concat(buffers);
  let done = false;
  outlet.write(buffers, () => {
    done = true;
  });
  await until(() => done && peer.bytes().length >= expected.length);
  t.ok(peer.bytes().equals(expected));
});

t.test('one long buffer leaves in pieces', async (t) => {
  const peer = await listen(t);
  const { outlet } = await dial(t, peer, { writeBytes: 100_000 });
  const long = noise(3_000_001, 1);
  let done = false;
  outlet.write([long], () => {
    done = true;
  });
  await until(() => done && peer.bytes().length >= long.length);
  t.ok(peer.bytes().equals(long));
  await outlet.writeWhole(long);
  await until(() => peer.bytes().length >= 2 * long.length);
  t.ok(peer.bytes().subarray(long.length).equals(long));
});

t.test('a write is under way until a peer that was slow has read', async (t) => {
  const peer = await listen(t, '127.0.0.1', false);
  const { outlet, clock, failures } = await dial(t, peer);
  const { sent, pending } = fill(outlet);
  t.equal(outlet.writing, true);
  clock.advance(limits.writeTimeoutMs - 1);
  await turns();
  t.equal(pending.done, false);
  const received: Buffer[] = [];
  peer.sockets[0]?.on('data', (chunk: Buffer) => void received.push(chunk));
  peer.sockets[0]?.resume();
  await until(() => pending.done);
  t.equal(outlet.writing, false);
  clock.advance(limits.writeTimeoutMs);
  t.same(failures, [], 'the time of a write ends with it');
  const expected = Buffer.concat(sent);
  await until(() => Buffer.concat(received).length >= expected.length);
  t.ok(Buffer.concat(received).equals(expected));
});

t.test('a peer that never reads fails the outlet once, when the write has its time', async (t) => {
  const peer = await listen(t, '127.0.0.1', false);
  const { outlet, stream, clock, failures } = await dial(t, peer);
  const { pending } = fill(outlet);
  const whole = t.rejects(outlet.writeWhole(Buffer.alloc(10)), /connection closed/);
  clock.advance(limits.writeTimeoutMs * 1.5);
  await turns();
  await whole;
  t.equal(failures.length, 1);
  t.match(failures[0]?.message, /nothing written/);
  t.equal(pending.done, false);
  t.equal(outlet.writing, false);
  t.equal(stream.destroyed, true);
});

t.test('an outlet destroyed under a write says nothing more', async (t) => {
  const peer = await listen(t, '127.0.0.1', false);
  const { outlet, failures } = await dial(t, peer);
  const { pending } = fill(outlet);
  outlet.destroy();
  await turns();
  t.equal(pending.done, false);
  t.same(failures, []);
  outlet.write([Buffer.from('late')], () => t.fail('written by nobody'));
});

t.test('a write behind the end of the stream fails the outlet once', async (t) => {
  const peer = await listen(t);
  const { outlet, stream, failures } = await dial(t, peer);
  stream.end();
  outlet.write([Buffer.from('late')], () => t.fail('written by nobody'));
  t.same(failures, [], 'not inside the call');
  await until(() => failures.length > 0);
  await turns();
  t.equal(failures.length, 1);
});

t.test('a peer that resets the connection fails the outlet once', async (t) => {
  const peer = await listen(t);
  const { outlet, failures } = await dial(t, peer);
  await until(() => peer.sockets.length === 1);
  peer.sockets[0]?.resetAndDestroy();
  const piece = Buffer.alloc(1000);
  const deadline = Date.now() + 10_000;
  while (failures.length === 0 && Date.now() < deadline) {
    if (!outlet.writing) outlet.write([piece, piece], () => {});
    await turns(1);
  }
  await turns();
  t.equal(failures.length, 1);
});

t.test('a stream that is no socket is written as a stream', async (t) => {
  const chunks: Buffer[] = [];
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, taken) {
      chunks.push(chunk);
      setImmediate(taken);
    },
  });
  setImmediate(() => stream.emit('connect'));
  const { outlet } = await open(t, stream);
  let done = false;
  outlet.write([Buffer.from('one'), Buffer.from('two')], () => {
    done = true;
  });
  t.equal(outlet.writing, true);
  await until(() => done);
  t.equal(outlet.writing, false);
  t.equal(Buffer.concat(chunks).toString(), 'onetwo');
});

t.test('a link writes batch after batch without growing the stack', async (t) => {
  const peer = await listen(t);
  const count = 20_000;
  const world = worldFor(t, { writeBytes: 1, queuedMessages: count + 1 });
  const to = { id: 2n as ServerId, address: peer.address };
  world.peers.send({ to, message: append(1, 8) });
  // Pieces of the first message may come one by one: what follows is counted from its end on.
  await until(() => peer.bytes().length > 40 && itemsIn(peer.bytes()).length === 1);
  for (let i = 0; i < count; i++) world.peers.send({ to, message: result(i) });
  const length = peer.bytes().length + count * encoded(result(1)).length;
  await until(() => world.peers.status()[0]?.queuedBytes === 0);
  await until(() => peer.sockets[0]?.bytesRead === length);
  const terms = itemsIn(peer.bytes()).slice(1);
  t.equal(terms.length, count);
  t.ok(terms.every((item, i) => item.kind === 'appendEntriesResult' && item.term === i));
});
