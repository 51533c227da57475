import t from 'tap';
import { WireError } from '../../src/base/errors.ts';
import type { ServerId } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import {
  commands,
  decodeCommand,
  encodeCommand,
  encodeFrames,
  pageBytes,
} from '../../src/protocol/commands.ts';
import { decodeConfiguration, encodeConfiguration } from '../../src/protocol/configuration.ts';
import type { Configuration } from '../../src/protocol/log.ts';

function page(number: number, fill: number): { number: number; content: Buffer } {
  return { number, content: Buffer.alloc(pageBytes, fill) };
}

t.test('a transaction is laid out as C servers lay it out', (t) => {
  const bytes = encodeFrames('test', [page(2, 7), page(1, 8)]);
  t.equal(bytes.length, 8248);
  t.equal(
    bytes.subarray(0, 56).toString('hex'),
    '0102000000000000' + // format and type
      '7465737400000000' + // name
      '0000000000000000' + // transaction
      '0000000001000000' + // truncate, commit
      '0200000000100000' + // pages, size of a page
      '0200000000000000' +
      '0100000000000000',
  );
  t.equal(bytes[56], 7);
  t.equal(bytes[56 + pageBytes], 8);
  t.equal(
    bytes.buffer.byteLength,
    bytes.length,
    'it owns its memory, so it can go to another thread',
  );

  const command = decodeCommand(bytes);
  t.match(command, { kind: 'frames', name: 'test', commit: true, transaction: 0n, truncate: 0 });
  t.same(command.kind === 'frames' && command.pages, [page(2, 7), page(1, 8)]);
  t.equal(encodeFrames('test', [page(1, 0)]).length, 4144);
  t.end();
});

t.test('commands of older servers are read', (t) => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex');
  t.strictSame(decodeCommand(hex('0101000000000000' + '7465737400000000')), {
    kind: 'open',
    name: 'test',
  });
  t.strictSame(decodeCommand(hex('0103000000000000' + '0500000000000000')), {
    kind: 'undo',
    transaction: 5n,
  });
  t.strictSame(decodeCommand(hex('0104000000000000' + '7465737400000000')), {
    kind: 'checkpoint',
    name: 'test',
  });
  t.end();
});

t.test('every command survives a round trip and owns exactly its memory', (t) => {
  const random = seededRandom(5);
  let wrong = 0;
  for (let i = 0; i < 50; i++) {
    for (const kind of ['open', 'frames', 'undo', 'checkpoint'] as const) {
      const bytes = encodeCommand(commands.sample(kind, random));
      if (!encodeCommand(decodeCommand(bytes)).equals(bytes)) wrong++;
      if (bytes.buffer.byteLength !== bytes.length) wrong++;
    }
  }
  t.equal(wrong, 0);
  t.end();
});

t.test('whatever is no command is a WireError', (t) => {
  const good = encodeFrames('test', [page(1, 1)]);
  const changed = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(good);
    bytes[at] = value;
    return bytes;
  };
  const bad = {
    'another format': changed(0, 2),
    'type 0': changed(1, 0),
    'type 5': changed(1, 5),
    'one page too few': changed(32, 2),
    'pages missing': changed(32, 0),
    'pages of 8192 bytes': changed(37, 0x20),
    'page 0': changed(40, 0),
    'a page number of 32 bits': changed(43, 0x80),
    'a page number of 64 bits': changed(47, 1),
    'a surplus word': Buffer.concat([good, Buffer.alloc(8)]),
    nothing: Buffer.alloc(0),
  };
  for (const [what, bytes] of Object.entries(bad)) {
    t.throws(() => decodeCommand(bytes), WireError, what);
  }
  for (let size = 0; size < good.length; size += 8) {
    try {
      decodeCommand(good.subarray(0, size));
      t.fail(`accepted ${size} bytes`);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }
  t.end();
});

const members: Configuration = {
  servers: [
    { id: 1n as ServerId, address: '127.0.0.1:21101', role: 'voter' },
    { id: 2n as ServerId, address: '127.0.0.1:21102', role: 'standby' },
    { id: 0xffff_ffff_ffff_ffffn as ServerId, address: 'größe:1', role: 'spare' },
  ],
};

t.test('a recorded configuration decodes and encodes, but for its padding', (t) => {
  const recorded = Buffer.from(
    '0102000000000000000100000000000000' +
      '3132372e302e302e313a323131303100' +
      '01' +
      '0200000000000000' +
      '3132372e302e302e313a323131303200' +
      '013300747265',
    'hex',
  );
  const configuration = decodeConfiguration(recorded);
  t.strictSame(
    configuration.servers.map(({ id, address, role }) => `${id} ${address} ${role}`),
    ['1 127.0.0.1:21101 voter', '2 127.0.0.1:21102 voter'],
  );
  t.strictSame(encodeConfiguration(configuration), recorded.fill(0, recorded.length - 5));
  t.strictSame(decodeConfiguration(encodeConfiguration(members)), members);
  t.end();
});

t.test('whatever is no configuration is a WireError', (t) => {
  const bytes = encodeConfiguration(members);
  const changed = (at: number, value: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = value;
    return copy;
  };
  const secondId = 9 + 8 + 16 + 1;
  const bad = {
    'version 2': changed(0, 2),
    'no servers': changed(1, 0),
    'more servers than there are': changed(1, 4),
    'more servers than any number': changed(8, 0xff),
    'id 0': changed(9, 0),
    'an id twice': changed(secondId, 1),
    'an address twice': changed(secondId + 8 + 14, 0x31),
    'role 3': changed(secondId - 1, 3),
    nothing: Buffer.alloc(0),
  };
  for (const [what, wrong] of Object.entries(bad)) {
    t.throws(() => decodeConfiguration(wrong), WireError, what);
  }
  const used = bytes.length - 8;
  for (let size = 0; size < used; size++) {
    try {
      decodeConfiguration(bytes.subarray(0, size));
      t.fail(`accepted ${size} bytes`);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }
  t.end();
});

t.test('mutated entries decode or are a WireError, nothing else', (t) => {
  const random = seededRandom(6);
  const samples = [encodeFrames('test', [page(1, 1)]), encodeConfiguration(members)];
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const bytes = Buffer.from(samples[i % 2] ?? Buffer.alloc(0));
    for (let n = random.int(1, 3); n > 0; n--) {
      bytes[random.int(0, Math.min(bytes.length, 64) - 1)] = random.int(0, 255);
    }
    try {
      if (i % 2 === 0) decodeCommand(bytes);
      else decodeConfiguration(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      refused++;
    }
  }
  t.ok(refused > 100, `${refused} refused`);
  t.end();
});
