import {
  blob,
  frame,
  handshake,
  parameters,
  request,
  text,
  uint32,
  uint64,
} from '../support/wire.ts';
import { lastAnswer, lastAnswerIn } from './conversation.ts';

/** Something that no sane client sends, and what is answered. */
export interface HostileInput {
  readonly name: string;
  /** Sends it; resolves with the last answer as `describeResponse` writes it. */
  readonly send: (port: number) => Promise<string>;
  readonly answer: string | RegExp;
}

const closed = 'connection closed';
const query = 9;

function afterHandshake(...messages: readonly Buffer[]): HostileInput['send'] {
  return (port) => lastAnswer(port, handshake, ...messages);
}

/** QUERY_SQL of `SELECT ?` with a hand-made parameter tuple. */
function withTuple(tuple: Buffer, schema = 0): HostileInput['send'] {
  const body = Buffer.concat([uint64(0), text('SELECT ?'), tuple]);
  return (port) => lastAnswerIn(port, 'hostile', frame(query, body, schema));
}

/** A tuple of one value with type `code`. */
function oneValue(code: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([1, code, 0, 0, 0, 0, 0, 0]), value]);
}

const handshakes: readonly HostileInput[] = [
  ['a handshake word of zero', uint64(0)],
  ['a handshake word of two', uint64(2)],
  ['a byte-swapped handshake word', Buffer.from('0000000000000001', 'hex')],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ['a TLS hello', Buffer.from('16030100f8010000f40303aabbccddeeff00112233445566778899', 'hex')],
].map(([name, bytes]) => ({
  name: String(name),
  send: (port: number) => lastAnswer(port, bytes as Buffer),
  answer: closed,
}));

const sizes: readonly HostileInput[] = (
  [
    ['a message of no words', 0],
    ['a message of 2 GiB and one word', 0x10000001],
    ['a message of 4 GiB', 0x20000000],
    ['a message of as many words as fit', 0xffffffff],
  ] as const
).map(([name, words]) => ({
  name,
  send: afterHandshake(frame(0, Buffer.alloc(0), 0, words)),
  answer: closed,
}));

const bodies: readonly HostileInput[] = [
  {
    name: 'a body shorter than its fields',
    send: afterHandshake(frame(4, uint64(0))),
    answer: closed,
  },
  {
    name: 'a text without its closing zero',
    send: afterHandshake(frame(4, Buffer.concat([uint64(0), Buffer.from('SELECT 1')]))),
    answer: closed,
  },
  {
    name: 'an OPEN that ends after the name',
    send: afterHandshake(frame(3, text('x'))),
    answer: closed,
  },
  {
    name: 'a parameter header longer than its message',
    send: withTuple(Buffer.from([255, 1, 1, 1, 1, 1, 1, 1])),
    answer: closed,
  },
  {
    name: 'four billion parameters announced',
    send: withTuple(Buffer.from('ffffffff01010101', 'hex'), 1),
    answer: closed,
  },
  {
    name: 'words behind the last field',
    send: afterHandshake(frame(0, Buffer.alloc(800, 0xff))),
    answer: /^SERVER/,
  },
  ...[2, 20, 100, 255].map((type) => ({
    name: `request type ${type}`,
    send: afterHandshake(frame(type, uint64(0)), request.client()),
    answer: 'WELCOME 15000',
  })),
  {
    name: 'CONNECT whose address has no closing zero',
    send: afterHandshake(frame(11, Buffer.concat([uint64(7), Buffer.alloc(8, 0x61)]))),
    answer: closed,
  },
  {
    name: 'CONNECT followed by noise',
    send: afterHandshake(
      Buffer.concat([
        frame(11, Buffer.concat([uint64(7), text('127.0.0.1:1')])),
        Buffer.alloc(4096, 0xa5),
      ]),
    ),
    answer: closed,
  },
];

const surplusValue = 'FAILURE 10 "leader exec failed"';
const values: readonly HostileInput[] = [
  ...[0, 6, 7, 8, 9, 12, 200, 255].map((code) => ({
    name: `a parameter of type ${code}`,
    send: withTuple(oneValue(code, uint64(1))),
    answer: surplusValue,
  })),
  {
    name: 'a parameter without its value',
    send: withTuple(Buffer.from([1, 1, 0, 0, 0, 0, 0, 0])),
    answer: surplusValue,
  },
  {
    name: 'a text parameter without its closing zero',
    send: withTuple(oneValue(3, Buffer.alloc(8, 0x61))),
    answer: surplusValue,
  },
  ...([2n ** 63n, 2n ** 64n - 1n, 9n] as const).map((size) => ({
    name: `a blob parameter that claims ${size} bytes`,
    send: withTuple(oneValue(4, Buffer.concat([uint64(size), uint64(0)]))),
    answer: surplusValue,
  })),
  {
    name: 'a NaN parameter',
    send: withTuple(oneValue(2, Buffer.from('000000000000f87f', 'hex'))),
    answer: 'ROWS ["?"] (5:null) done',
  },
  {
    name: 'a text parameter that is not UTF-8',
    send: withTuple(oneValue(3, Buffer.from('fffe80c100000000', 'hex'))),
    answer: /^ROWS \["\?"\] \(3:.*\) done$/,
  },
  {
    name: 'more parameters than the statement has',
    send: withTuple(parameters([1, 2, 3])),
    answer: surplusValue,
  },
  {
    name: 'a blob parameter of 20 MiB',
    send: (port) =>
      lastAnswerIn(
        port,
        'hostile',
        frame(
          query,
          Buffer.concat([
            uint64(0),
            text('SELECT length(?)'),
            oneValue(4, blob(Buffer.alloc(20 << 20))),
          ]),
        ),
      ),
    answer: 'ROWS ["length(?)"] (1:20971520) done',
  },
];

const names: readonly HostileInput[] = [
  ...['', ':memory:', 'file:x?mode=memory', 'file::memory:'].map((name) => ({
    name: `OPEN of "${name}"`,
    send: (port: number) =>
      lastAnswerIn(
        port,
        name,
        request.execSql('CREATE TABLE IF NOT EXISTS t (x)'),
        request.querySql('SELECT 1'),
      ),
    answer: /^(FAILURE 12 "no database opened"|ROWS \["1"\] \(1:1\) done)$/,
  })),
  ...['a-wal', 'a-journal'].map((name) => ({
    name: `OPEN of "${name}"`,
    send: (port: number) => lastAnswerIn(port, name, request.querySql('SELECT 1')),
    answer: /^(FAILURE 12 "no database opened"|ROWS \["1"\] \(1:1\) done)$/,
  })),
  ...['../../etc/passwd', '/dev/zero', 'a?mode=ro&cache=shared', '\u0001\u001f', ' '].map(
    (name) => ({
      name: `OPEN of ${JSON.stringify(name)}`,
      send: (port: number) =>
        lastAnswerIn(
          port,
          name,
          request.execSql('CREATE TABLE IF NOT EXISTS t (x)'),
          request.querySql('SELECT count(*) FROM t'),
        ),
      answer: 'ROWS ["count(*)"] (1:0) done',
    }),
  ),
  {
    name: 'OPEN of a name that is not UTF-8',
    send: afterHandshake(
      frame(3, Buffer.concat([Buffer.from('fffe000000000000', 'hex'), uint64(0), text('')])),
      request.querySql('SELECT 1'),
    ),
    answer: 'ROWS ["1"] (1:1) done',
  },
  {
    name: 'OPEN of 505 bytes',
    send: afterHandshake(request.open('x'.repeat(505))),
    answer: closed,
  },
  {
    name: 'a second OPEN',
    send: (port) =>
      lastAnswerIn(port, 'hostile', request.open('other'), request.querySql('SELECT 1')),
    answer: 'ROWS ["1"] (1:1) done',
  },
];

const unknownStatement = 'FAILURE 12 "no statement with the given id"';
const twoPrepared = [request.prepare('SELECT 0'), request.prepare('SELECT 1'), request.finalize(0)];
const statements: readonly HostileInput[] = [
  ['QUERY of a freed statement id', request.query(0)],
  ['EXEC of a freed statement id', request.exec(0)],
  ['FINALIZE of a freed statement id', request.finalize(0)],
  ['QUERY of a statement id far beyond any', request.query(0xffffffff)],
].map(([name, message]) => ({
  name: String(name),
  send: (port: number) => lastAnswerIn(port, 'hostile', ...twoPrepared, message as Buffer),
  answer: unknownStatement,
}));

const invalidId = 'FAILURE 1 "server ID is not valid"';
const membership: readonly HostileInput[] = [
  {
    name: 'DESCRIBE in an unknown format',
    send: afterHandshake(request.describe(1)),
    answer: 'FAILURE 15 "bad format version"',
  },
  {
    name: 'a request after DESCRIBE in an unknown format',
    send: afterHandshake(request.describe(1), request.client()),
    answer: 'WELCOME 15000',
  },
  {
    name: 'CLUSTER in an unknown format',
    send: afterHandshake(request.cluster(7)),
    answer: 'FAILURE 1005 "unrecognized cluster format"',
  },
  { name: 'ADD of id 0', send: afterHandshake(request.add(0, '127.0.0.1:1')), answer: invalidId },
  { name: 'REMOVE of id 0', send: afterHandshake(request.remove(0)), answer: invalidId },
  {
    name: 'REMOVE of the only voter',
    send: afterHandshake(request.remove(1)),
    answer: /^FAILURE 1 "the only voter/,
  },
  ...[1, 2].map((role) => ({
    name: `ASSIGN of role ${role} to the only voter`,
    send: afterHandshake(request.assign(1, role)),
    answer: /^FAILURE 1 "the only voter/,
  })),
  {
    name: 'ASSIGN of an unknown role',
    send: afterHandshake(request.assign(1, 9)),
    answer: 'FAILURE 1 "server role is not valid"',
  },
  {
    name: 'TRANSFER to nobody',
    send: afterHandshake(request.transfer(0)),
    answer: 'FAILURE 1 "Resource not found"',
  },
  { name: 'TRANSFER to itself', send: afterHandshake(request.transfer(1)), answer: invalidId },
  {
    name: 'WEIGHT of 64 bits',
    send: afterHandshake(frame(19, uint64(2n ** 64n - 1n)), request.describe()),
    answer: 'METADATA 0 -1',
  },
  {
    name: 'a database id of 32 bits',
    send: (port) => lastAnswerIn(port, 'hostile', frame(5, uint32(0xffffffff, 0))),
    answer: 'FAILURE 12 "no database opened"',
  },
];

/** By the part of the protocol that they strain. */
export const hostileInputs: readonly HostileInput[] = [
  ...handshakes,
  ...sizes,
  ...bodies,
  ...values,
  ...names,
  ...statements,
  ...membership,
];
