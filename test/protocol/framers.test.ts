import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { WireError } from '../../src/base/errors.ts';
import { seededRandom } from '../../src/base/random.ts';
import { ByteQueue } from '../../src/protocol/byte-queue.ts';
import { Framer } from '../../src/protocol/framer.ts';
import { decodeRequest, requests } from '../../src/protocol/requests.ts';
import { Writer } from '../../src/protocol/words.ts';
import { drain } from '../support/drain.ts';

function hex(...words: string[]): Buffer {
  return Buffer.from(words.join(''), 'hex');
}

const leader = '0100000000000000' + '0000000000000000';
const interrupt = '010000000a000000' + '0000000000000000';

t.test('messages come out the same however the bytes are cut', (t) => {
  const random = seededRandom(1);
  const to = new Writer();
  for (let i = 0; i < 50; i++) {
    requests.write(to, requests.sample(i % 2 === 0 ? 'querySql' : 'open', random));
  }
  const bytes = to.takeBytes();
  const whole = drain(new Framer(), bytes, bytes.length);
  t.equal(whole.length, 50);
  for (const size of [1, 3, 7, 8, 9, 64, 1000]) {
    t.ok(isDeepStrictEqual(drain(new Framer(), bytes, size), whole), `pieces of ${size}`);
  }
  t.end();
});

t.test('a message that came in one piece is not copied', (t) => {
  const framer = new Framer();
  const chunk = hex(leader, interrupt);
  framer.push(chunk);
  const first = framer.next();
  const second = framer.next();
  t.equal(first?.body.buffer, chunk.buffer);
  t.equal(second?.body.byteOffset, chunk.byteOffset + 24);
  t.equal(framer.bufferedBytes, 0);
  t.end();
});

t.test('the first word says which protocol the client speaks', (t) => {
  const greet = (word: string, size: number): unknown => {
    const framer = new Framer();
    let version: unknown;
    const bytes = hex(word, leader);
    for (let at = 0; at < bytes.length && version === undefined; at += size) {
      framer.push(bytes.subarray(at, at + size));
      version = framer.handshake();
    }
    return version;
  };
  t.equal(greet('0100000000000000', 8), 'v1');
  t.equal(greet('0100000000000000', 1), 'v1');
  t.equal(greet('e53f4360d74d1086', 24), 'legacy');
  for (const word of ['0000000000000000', '0200000000000000', '0000000000000001']) {
    t.throws(() => greet(word, 8), WireError, word);
  }
  t.end();
});

t.test('a message without a body and one above the limit are refused at their header', (t) => {
  const limited = (words: string): (() => unknown) => {
    const framer = new Framer(32);
    framer.push(hex(words, '03000000'));
    return () => framer.next();
  };
  t.throws(limited('00000000'), WireError);
  t.throws(limited('04000000'), WireError);
  t.throws(limited('ffffffff'), WireError);
  t.equal(limited('03000000')(), undefined);
  t.end();
});

t.test('the next message can be looked at before it is taken', (t) => {
  const framer = new Framer();
  const bytes = hex(interrupt, leader);
  framer.push(bytes.subarray(0, 15));
  t.equal(framer.peekType(), undefined, 'not there whole');
  framer.push(bytes.subarray(15));
  t.equal(framer.peekType(), 10);
  t.equal(framer.peekType(), 10);
  t.equal(framer.next()?.type, 10);
  t.equal(framer.peekType(), 0);
  t.end();
});

t.test('bytes behind CONNECT can be taken as they are', (t) => {
  const framer = new Framer();
  const connect = '030000000b00000001000000000000003132372e302e302e313a323131303100';
  framer.push(hex(connect, '0102'));
  framer.push(hex('03'));
  const frame = framer.next();
  t.match(frame && decodeRequest(frame), { kind: 'connect', id: 1n, address: '127.0.0.1:21101' });
  t.strictSame(framer.takeRest(), hex('010203'));
  t.equal(framer.bufferedBytes, 0);
  t.end();
});

t.test('a queue of bytes gives back what was put in, in order, whatever the sizes', (t) => {
  const random = seededRandom(7);
  const queue = new ByteQueue();
  let pushed = 0;
  let taken = 0;
  let wrong = 0;
  const check = (bytes: Buffer, from: number): void => {
    for (const [i, byte] of bytes.entries()) if (byte !== (from + i) % 251) wrong++;
  };
  for (let i = 0; i < 20_000; i++) {
    const size = random.int(0, 9) === 0 ? random.int(0, 5000) : random.int(0, 40);
    const from = pushed;
    queue.push(Buffer.from(Array.from({ length: size }, (_, k) => (from + k) % 251)));
    pushed += size;
    const wanted = random.int(0, Math.min(queue.length, 3000));
    const peeked = queue.peek(Math.min(16, queue.length));
    if (peeked !== undefined) check(peeked, taken);
    const bytes = random.int(0, 1) === 0 ? queue.take(wanted) : queue.takeSome(wanted);
    check(bytes, taken);
    taken += bytes.length;
  }
  check(queue.take(queue.length), taken);
  t.equal(wrong, 0);
  t.ok(pushed > 1_000_000);
  t.end();
});

t.test('bytes that arrive one by one do not keep an object each', (t) => {
  const size = 1024 * 1024;
  const bytes = Buffer.alloc(8 + size, 5);
  bytes.writeUInt32LE(size / 8);
  const framer = new Framer();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < bytes.length - 1; i++) framer.push(bytes.subarray(i, i + 1));
  const grown = process.memoryUsage().heapUsed - before;
  t.equal(framer.next(), undefined);
  framer.push(bytes.subarray(-1));
  t.equal(framer.next()?.body.equals(bytes.subarray(8)), true);
  t.ok(grown < 64 * size, `${grown} bytes of heap for ${size}`);
  t.end();
});
