import t from 'tap';
import { WireError } from '../../src/base/errors.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { commands, commandTable } from '../../src/protocol/commands.ts';
import { nameOfText, textOfName } from '../../src/protocol/kinds.ts';
import { peerHeaders, peerTable } from '../../src/protocol/peer-codec.ts';
import { decodeRequest, requests, requestTable } from '../../src/protocol/requests.ts';
import {
  filesHeads,
  olderResponses,
  olderResponseTable,
  responses,
  responseTable,
} from '../../src/protocol/responses.ts';
import {
  clientRoleNumber,
  raftRoleNumber,
  roleOfClient,
  roleOfRaft,
} from '../../src/protocol/roles.ts';
import type { Codec } from '../../src/protocol/table.ts';
import { Writer } from '../../src/protocol/words.ts';

interface Message {
  readonly kind: string;
  readonly schema?: number;
}

/** The tables, without what their types know, so that one loop tests them all. */
const tables = {
  requests: { codec: requests as unknown as Codec<Message>, table: requestTable },
  responses: { codec: responses as unknown as Codec<Message>, table: responseTable },
  'older responses': {
    codec: olderResponses as unknown as Codec<Message>,
    table: olderResponseTable,
  },
  'peer headers': { codec: peerHeaders as unknown as Codec<Message>, table: peerTable },
  commands: { codec: commands as unknown as Codec<Message>, table: commandTable },
} as const;

function encoded(codec: Codec<Message>, message: Message): Buffer {
  const to = new Writer(256);
  codec.writeBody(to, message);
  return to.takeBytes();
}

function schemaOf(message: Message, schemas: readonly number[]): number {
  return message.schema ?? schemas[0] ?? 0;
}

function each(
  run: (codec: Codec<Message>, type: number, schema: number, message: Message) => void,
  random: Random,
  times: number,
): void {
  for (const { codec, table } of Object.values(tables)) {
    for (const [kind, { type, schemas }] of Object.entries(table)) {
      for (let i = 0; i < times; i++) {
        const message = codec.sample(kind, random);
        run(codec, type, schemaOf(message, schemas), message);
      }
    }
  }
}

t.test('every message of every table survives a round trip', (t) => {
  const wrong: Message[] = [];
  each(
    (codec, type, schema, message) => {
      const body = encoded(codec, message);
      const again = codec.decode(type, schema, body);
      if (again === undefined || !encoded(codec, again).equals(body)) wrong.push(message);
    },
    seededRandom(1),
    100,
  );
  t.strictSame(wrong, []);

  const open = { kind: 'open', filename: 'test.db', flags: 6n, vfs: 'v' } as const;
  const to = new Writer(64);
  requests.write(to, open);
  const bytes = to.takeBytes();
  t.equal(
    bytes.toString('hex'),
    '0300000003000000' + '746573742e646200' + '0600000000000000' + '7600000000000000',
  );
  t.strictSame(requests.decode(3, 0, bytes.subarray(8)), open);
  t.end();
});

t.test('a body that is cut off is a WireError, unless what is missing is optional', (t) => {
  const optionalTails = new Set([
    ...['assign', 'exec', 'query', 'execSql', 'querySql'],
    ...['requestVote', 'requestVoteResult', 'appendEntries', 'appendEntriesResult'],
    'installSnapshot',
  ]);
  const accepted = new Set<string>();
  each(
    (codec, type, schema, message) => {
      const body = encoded(codec, message);
      for (let size = 0; size < body.length; size += 8) {
        try {
          codec.decode(type, schema, body.subarray(0, size));
          accepted.add(message.kind);
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
      }
    },
    seededRandom(2),
    20,
  );
  t.strictSame(
    [...accepted].filter((kind) => !optionalTails.has(kind)),
    [],
  );
  t.end();
});

t.test('words beyond the last field are ignored', (t) => {
  const extra = Buffer.alloc(16, 7);
  t.strictSame(requests.decode(0, 0, Buffer.concat([Buffer.alloc(8), extra])), {
    kind: 'leader',
    unused: 0n,
  });
  t.end();
});

t.test('mutated bodies decode or are a WireError, nothing else', (t) => {
  const random = seededRandom(3);
  let refused = 0;
  let accepted = 0;
  each(
    (codec, type, schema, message) => {
      const body = encoded(codec, message);
      for (let i = random.int(1, 4); i > 0 && body.length > 0; i--) {
        body[random.int(0, body.length - 1)] = random.int(0, 1) * random.int(0, 255);
      }
      try {
        codec.decode(type, schema, body);
        accepted++;
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        refused++;
      }
    },
    random,
    200,
  );
  t.ok(accepted > 100 && refused > 100, `${accepted} accepted, ${refused} refused`);
  t.end();
});

t.test('unknown types and schemas are told apart without an error', (t) => {
  const body = Buffer.alloc(8);
  const error = (type: number, schema: number): unknown => {
    const request = decodeRequest({ type, schema, body });
    return request.kind === 'unrecognized' ? request.error : undefined;
  };
  for (const type of [2, 20, 255]) t.equal(error(type, 0), 'unrecognizedType');
  for (const type of [0, 1, 3, 7, 10, 12, 13, 14, 15, 16, 17, 18, 19]) {
    t.equal(error(type, 1), 'unrecognizedSchema', `type ${type}`);
  }
  for (const type of [4, 5, 6, 8, 9])
    t.equal(error(type, 2), 'unrecognizedSqlSchema', `type ${type}`);
  t.equal(error(0, 0), undefined);
  t.end();
});

t.test('text is written up to its first zero, so that the fields behind it stay in place', (t) => {
  const to = new Writer(64);
  requests.write(to, { kind: 'open', filename: 'a\0bcdefghijk', flags: 1n, vfs: 'v\0olatile' });
  requests.write(to, { kind: 'prepare', schema: 0, database: 0n, sql: Buffer.from('SELECT\0 1') });
  const bytes = to.takeBytes();
  t.strictSame(requests.decode(3, 0, bytes.subarray(8, 32)), {
    kind: 'open',
    filename: 'a',
    flags: 1n,
    vfs: 'v',
  });
  t.same(requests.decode(4, 0, bytes.subarray(40)), {
    kind: 'prepare',
    schema: 0,
    database: 0n,
    sql: Buffer.from('SELECT'),
  });
  t.end();
});

t.test('names keep bytes that are not UTF-8', (t) => {
  const body = Buffer.from('fffe410000000000' + '0000000000000000' + '0000000000000000', 'hex');
  const open = requests.decode(3, 0, body);
  t.match(open, { filename: '\u00ff\u00feA' });
  const to = new Writer(64);
  if (open !== undefined) requests.write(to, open);
  t.strictSame(to.takeBytes().subarray(8), body);
  t.equal(textOfName(nameOfText('größe')), 'größe');
  t.equal(nameOfText('ö').length, 2);
  t.end();
});

t.test('a name of 505 bytes cannot be opened', (t) => {
  const decode = (size: number): unknown => {
    const to = new Writer(64);
    requests.write(to, { kind: 'open', filename: 'x'.repeat(size), flags: 0n, vfs: '' });
    return requests.decode(3, 0, to.takeBytes().subarray(8));
  };
  t.match(decode(504), { filename: 'x'.repeat(504) });
  t.throws(() => decode(505), WireError);
  t.end();
});

t.test('FILES can be written around contents that are elsewhere', (t) => {
  const content = Buffer.alloc(4096, 1);
  const heads = filesHeads([
    { name: 'test', sizeBytes: 4096 },
    { name: 'test-wal', sizeBytes: 0 },
  ]);
  const pieces = [heads[0], content, heads[1]].filter((piece) => piece !== undefined);
  const to = new Writer(64);
  const files = [
    { name: 'test', content },
    { name: 'test-wal', content: Buffer.alloc(0) },
  ];
  responses.write(to, { kind: 'files', files });
  t.strictSame(Buffer.concat(pieces), to.takeBytes());
  t.end();
});

t.test('roles have other numbers for clients than between servers', (t) => {
  t.strictSame([0n, 1n, 2n, 3n, 2n ** 63n].map(roleOfClient), [
    'voter',
    'standby',
    'spare',
    undefined,
    undefined,
  ]);
  t.strictSame([0, 1, 2, 3].map(roleOfRaft), ['standby', 'voter', 'spare', undefined]);
  for (const role of ['voter', 'standby', 'spare'] as const) {
    t.equal(roleOfClient(BigInt(clientRoleNumber(role))), role);
    t.equal(roleOfRaft(raftRoleNumber(role)), role);
  }
  t.end();
});

t.test('a writer that grows keeps what was written and hands out bytes that stay', (t) => {
  const to = new Writer(16);
  requests.write(to, { kind: 'leader', unused: 1n });
  const first = to.takeBytes();
  requests.write(to, { kind: 'leader', unused: 2n });
  requests.write(to, { kind: 'weight', weight: 3n });
  to.truncate(16);
  requests.write(to, { kind: 'weight', weight: 4n });
  const second = to.takeBytes();
  t.equal(first.toString('hex'), '0100000000000000' + '0100000000000000');
  t.equal(
    second.toString('hex'),
    '0100000000000000' + '0200000000000000' + '0100000013000000' + '0400000000000000',
  );
  t.end();
});
