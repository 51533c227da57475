import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { WireError } from '../../src/base/errors.ts';
import type { Index, ServerId, Term } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { decodeCommand } from '../../src/protocol/commands.ts';
import { decodeConfiguration } from '../../src/protocol/configuration.ts';
import { Framer } from '../../src/protocol/framer.ts';
import type { Entry } from '../../src/protocol/log.ts';
import { encodePeerMessage } from '../../src/protocol/peer-codec.ts';
import { PeerFramer, type PeerItem } from '../../src/protocol/peer-framer.ts';
import type { AppendEntries, WirePeerMessage } from '../../src/protocol/peer-messages.ts';
import { drain } from '../support/drain.ts';

function hex(...words: string[]): Buffer {
  return Buffer.from(words.join(''), 'hex');
}

const fixtures = join(import.meta.dirname, '../fixtures/raft');

/** The bytes of each recorded connection between servers. */
function captures(): { title: string; bytes: Buffer }[] {
  return ['head', 'v111', 'truncate-head'].flatMap((directory) =>
    readdirSync(join(fixtures, directory)).map((file) => ({
      title: `${directory}/${file}`,
      bytes: gunzipSync(readFileSync(join(fixtures, directory, file))),
    })),
  );
}

/** Steps over protocol word and CONNECT, as a listener does. */
function peerBytes(bytes: Buffer): Buffer {
  const framer = new Framer();
  framer.push(bytes);
  framer.handshake();
  framer.next();
  return framer.takeRest();
}

/**
 * What C servers write and we do not: garbage behind the types of entries and at the end of headers, padding of
 * configurations, and the answers of 1.11 without features.
 */
function withoutGarbage(raw: Buffer, message: WirePeerMessage, headerBytes: number): Buffer {
  const bytes = Buffer.from(raw);
  if (message.kind === 'appendEntries') {
    for (let i = 0; i < message.entries.length; i++)
      bytes.fill(0, 16 + 40 + 16 * i + 9, 16 + 40 + 16 * i + 12);
    bytes.fill(0, 16 + headerBytes - 8, 16 + headerBytes);
  }
  if (message.kind === 'installSnapshot') {
    const size = Number(bytes.readBigUInt64LE(16 + 32));
    let used = 9;
    for (const { address } of message.configuration.servers)
      used += 10 + Buffer.byteLength(address);
    bytes.fill(0, 16 + 40 + used, 16 + 40 + size);
    return withHeader(bytes.subarray(0, 16 + 40 + size + 8));
  }
  if (message.kind === 'appendEntriesResult') {
    return withHeader(Buffer.concat([bytes.subarray(0, 40), Buffer.alloc(8)]));
  }
  return bytes;
}

function withHeader(bytes: Buffer): Buffer {
  bytes.writeBigUInt64LE(BigInt(bytes.length - 16), 8);
  return bytes;
}

t.test(
  'everything that C servers said to each other is read, and written back without their garbage',
  (t) => {
    const counts: { [kind: string]: number } = {};
    const wrong: string[] = [];
    for (const { title, bytes } of captures()) {
      const stream = peerBytes(bytes);
      let at = 0;
      for (const item of drain(new PeerFramer(), stream, stream.length)) {
        counts[item.kind] = (counts[item.kind] ?? 0) + 1;
        if (item.kind === 'snapshotChunk') {
          if (!item.bytes.equals(stream.subarray(at, at + item.bytes.length))) wrong.push(title);
          at += item.bytes.length;
          continue;
        }
        const headerBytes = Number(stream.readBigUInt64LE(at + 8));
        const payload = item.kind === 'appendEntries' ? sum(item.entries) : 0;
        const size = 16 + headerBytes + payload;
        const again = Buffer.concat(encodePeerMessage(item));
        const expected = withoutGarbage(stream.subarray(at, at + size), item, headerBytes);
        if (!again.equals(expected)) wrong.push(`${title} at ${at}: ${item.kind}`);
        at += size;
      }
      if (at !== stream.length) wrong.push(`${title}: ${stream.length - at} bytes left`);
    }
    t.strictSame(wrong, []);
    t.ok(
      counts.appendEntries && counts.installSnapshot && counts.snapshotChunk && counts.timeoutNow,
    );
    t.ok(counts.requestVote && counts.requestVoteResult && counts.appendEntriesResult);
    t.end();
  },
);

function sum(entries: readonly Entry[]): number {
  return entries.reduce((total, { data }) => total + data.length, 0);
}

t.test('recorded connections read the same byte by byte', (t) => {
  const joined = (items: PeerItem[]): unknown[] => {
    const found: unknown[] = [];
    let snapshot = Buffer.alloc(0);
    for (const item of items) {
      if (item.kind !== 'snapshotChunk') found.push(item);
      else {
        snapshot = Buffer.concat([snapshot, item.bytes]);
        if (item.last) found.push(snapshot);
      }
    }
    return found;
  };
  const wrong: string[] = [];
  for (const { title, bytes } of captures().filter(({ bytes }) => bytes.length < 120_000)) {
    const stream = peerBytes(bytes);
    const whole = joined(drain(new PeerFramer(), stream, stream.length));
    if (!isDeepStrictEqual(joined(drain(new PeerFramer(), stream, 1)), whole)) wrong.push(title);
  }
  t.strictSame(wrong, []);
  t.end();
});

t.test('recorded entries hold commands and configurations that decode', (t) => {
  const counts = { command: 0, barrier: 0, change: 0 };
  for (const { bytes } of captures()) {
    const stream = peerBytes(bytes);
    for (const item of drain(new PeerFramer(), stream, stream.length)) {
      if (item.kind !== 'appendEntries') continue;
      for (const { type, data } of item.entries) {
        counts[type]++;
        if (type === 'command') decodeCommand(data);
        if (type === 'change') decodeConfiguration(data);
      }
    }
  }
  t.ok(counts.command > 100 && counts.change > 5 && counts.barrier > 0);
  t.end();
});

function entry(index: number, data: Buffer, type: Entry['type'] = 'command'): Entry {
  return { index: index as Index, term: 3 as Term, type, data };
}

function appendEntries(entries: readonly Entry[], round = 0): AppendEntries {
  return {
    kind: 'appendEntries',
    term: 3 as Term,
    prevIndex: 10 as Index,
    prevTerm: 2 as Term,
    leaderCommit: 9 as Index,
    entries,
    round,
  };
}

function decodeOne(...words: string[]): PeerItem | undefined {
  const framer = new PeerFramer();
  framer.push(hex(...words));
  return framer.next();
}

t.test('entries are sent without copying and numbered from the previous index on', (t) => {
  const data = Buffer.alloc(16, 1);
  const pieces = encodePeerMessage(
    appendEntries([entry(11, data), entry(12, Buffer.alloc(8), 'barrier')]),
  );
  t.equal(pieces[1], data);
  const framer = new PeerFramer();
  framer.push(Buffer.concat(pieces));
  const message = framer.next();
  t.same(message, appendEntries([entry(11, data), entry(12, Buffer.alloc(8), 'barrier')]));
  t.end();
});

t.test('rounds travel in words that C servers ignore; anything else there is no round', (t) => {
  const fixed = '0300000000000000' + '0a00000000000000' + '0200000000000000' + '0900000000000000';
  const append = (tail: string): string =>
    `0100000000000000${tail === '' ? '28' : '30'}00000000000000${fixed}0000000000000000${tail}`;
  const roundOf = (item: PeerItem | undefined): unknown => item && 'round' in item && item.round;
  t.equal(roundOf(decodeOne(append('0500000000007164'))), 5);
  t.equal(roundOf(decodeOne(append('ffffffffffff7164'))), 2 ** 48 - 1);
  for (const tail of [
    '',
    '0000000000000000',
    '6674733300747265',
    '0500000000006471',
    '0500000000000000',
  ]) {
    t.equal(roundOf(decodeOne(append(tail))), 0, tail);
  }
  t.equal(
    encodePeerMessage(appendEntries([], 5))[0]?.toString('hex').endsWith('0500000000007164'),
    true,
  );
  t.equal(
    encodePeerMessage(appendEntries([], 0))[0]?.toString('hex').endsWith('00'.repeat(8)),
    true,
  );

  const result = '0300000000000000' + '0000000000000000' + '0a00000000000000';
  t.equal(roundOf(decodeOne('02000000000000001800000000000000', result)), 0);
  t.equal(roundOf(decodeOne('02000000000000002000000000000000', result, '0700000000007164')), 7);
  t.equal(roundOf(decodeOne('02000000000000002000000000000000', result, '0700000000000000')), 0);
  t.end();
});

t.test('older and newer forms of a message are both read', (t) => {
  const vote = '0300000000000000' + '0200000000000000' + '5f00000000000000' + '0200000000000000';
  t.match(decodeOne('03000000000000002000000000000000', vote), {
    disruptLeader: false,
    preVote: false,
  });
  t.match(decodeOne('03000000000000002800000000000000', vote, '0200000000000000'), {
    candidate: 2n,
    disruptLeader: false,
    preVote: true,
  });
  t.match(decodeOne('03000000000000002800000000000000', vote, '0100000000000000'), {
    disruptLeader: true,
  });
  const result = '0300000000000000' + '0100000000000000';
  t.match(decodeOne('04000000000000001000000000000000', result), { granted: true, preVote: false });
  t.match(decodeOne('04000000000000001800000000000000', result, '0100000000000000'), {
    preVote: true,
  });
  t.match(decodeOne('0400ffffffffffff1000000000000000', result), { kind: 'requestVoteResult' });
  t.end();
});

t.test('a snapshot is passed on as it arrives, and the next message follows it', (t) => {
  const header = encodePeerMessage({
    kind: 'installSnapshot',
    term: 3 as Term,
    lastIndex: 64 as Index,
    lastTerm: 2 as Term,
    configurationIndex: 9 as Index,
    configuration: { servers: [{ id: 1n as ServerId, address: 'a:1', role: 'voter' }] },
    dataSize: 20,
  });
  const now: WirePeerMessage = {
    kind: 'timeoutNow',
    term: 3 as Term,
    lastIndex: 64 as Index,
    lastTerm: 2 as Term,
  };
  const framer = new PeerFramer();
  framer.push(Buffer.concat(header));
  t.match(framer.next(), { kind: 'installSnapshot', dataSize: 20 });
  t.equal(framer.next(), undefined);
  framer.push(Buffer.alloc(12, 1));
  t.match(framer.next(), { kind: 'snapshotChunk', bytes: Buffer.alloc(12, 1), last: false });
  framer.push(Buffer.concat([Buffer.alloc(8, 2), ...encodePeerMessage(now)]));
  t.match(framer.next(), { kind: 'snapshotChunk', bytes: Buffer.alloc(8, 2), last: true });
  t.strictSame(framer.next(), now);
  t.equal(framer.next(), undefined);
  t.end();
});

t.test('messages that no server sends are a WireError', (t) => {
  const zeros = (bytes: number): string => '00'.repeat(bytes);
  const oneEntry = (head: string): string =>
    `0100000000000000${'3800000000000000'}${zeros(32)}0100000000000000${'0100000000000000'}${head}`;
  const bad = {
    'no header': '0100000000000000' + '0000000000000000',
    'a header above 4 MiB': '0100000000000000' + '0100400000000000',
    'a huge header': '0100000000000000' + 'ffffffffffffffff',
    'type 0': `00000000000000000800000000000000${zeros(8)}`,
    'type 7': `07000000000000000800000000000000${zeros(8)}`,
    'a vote of 48 bytes': `03000000000000003000000000000000${'01'.repeat(48)}`,
    'a vote of 36 bytes': `03000000000000002400000000000000${'01000000'.repeat(9)}`,
    'a vote for nobody': `03000000000000002800000000000000${zeros(40)}`,
    'a term of 64 bits': `06000000000000001800000000000000${'ff'.repeat(24)}`,
    'more entries than heads': `01000000000000003000000000000000${zeros(32)}0200000000000000${zeros(8)}`,
    'an entry of type 0': oneEntry('0000000008000000'),
    'an entry of type 4': oneEntry('0400000008000000'),
    'an entry of 5 bytes': oneEntry('0100000005000000'),
    'an entry of nothing': oneEntry('0100000000000000'),
    'entries above 500 MiB': oneEntry('010000000800401f'),
    'a snapshot without servers': `05000000000000003800000000000000${zeros(56)}`,
  };
  for (const [what, words] of Object.entries(bad))
    t.throws(() => decodeOne(words), WireError, what);
  t.equal(decodeOne(oneEntry('010000000000401f')), undefined, '500 MiB are waited for');
  t.end();
});

t.test('mutated peer streams decode or are a WireError, nothing else', (t) => {
  const random = seededRandom(11);
  const streams = captures()
    .map(({ bytes }) => peerBytes(bytes))
    .filter(({ length }) => length < 40_000);
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const stream = Buffer.from(streams[random.int(0, streams.length - 1)] ?? Buffer.alloc(0));
    const near = Math.min(stream.length, 400) - 1;
    for (let n = random.int(1, 3); n > 0; n--) stream[random.int(0, near)] = random.int(0, 255);
    try {
      drain(new PeerFramer(), stream, stream.length);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      refused++;
    }
  }
  t.ok(refused > 100, `${refused} refused`);
  t.end();
});

t.test('messages are whole wherever they begin in the memory that writers share', (t) => {
  const framer = new PeerFramer();
  let wrong = 0;
  for (let i = 1; i <= 5000; i++) {
    const data = Buffer.alloc(8, i);
    const type = 'command';
    const entries: Entry[] = Array.from({ length: i % 5 }, (_, at) => ({
      index: (i + at) as Index,
      term: 1 as Term,
      type,
      data,
    }));
    const sent: WirePeerMessage = {
      kind: 'appendEntries',
      term: i as Term,
      prevIndex: (i - 1) as Index,
      prevTerm: 1 as Term,
      leaderCommit: 0 as Index,
      entries,
      round: i,
    };
    framer.push(Buffer.concat(encodePeerMessage(sent)));
    if (!isDeepStrictEqual(framer.next(), sent)) wrong++;
  }
  t.equal(wrong, 0);
  t.end();
});
