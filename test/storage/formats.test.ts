import { execFileSync } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Index, ServerId, Term } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { generatedServerId } from '../../src/storage/bootstrap.ts';
import { crc } from '../../src/storage/crc.ts';
import { writeWhole } from '../../src/storage/disk.ts';
import { StorageError } from '../../src/storage/errors.ts';
import { closedSegmentName, parseFileName, snapshotName } from '../../src/storage/file-names.ts';
import {
  encodeMetadata,
  loadMetadata,
  noMetadata,
  storeMetadata,
} from '../../src/storage/metadata.ts';
import { NodeDisk } from '../../src/storage/node-disk.ts';
import { encodeBatch, encodeSegment } from '../../src/storage/segment.ts';
import { scanSegment } from '../../src/storage/segment-reader.ts';
import { SnapshotReader } from '../../src/storage/snapshot-reader.ts';
import { writeSnapshotData } from '../../src/storage/snapshot-writer.ts';
import { realDirectory } from '../conformance/disk.ts';
import { MemoryDisk } from './memory-disk.ts';
import { collect, content, entry, pages } from './store-support.ts';

const disk = new NodeDisk();

/** The definition, bit by bit. */
function slowCrc(bytes: Uint8Array): number {
  let value = 0;
  for (const byte of bytes) {
    value ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) value = (value << 1) ^ (value < 0 ? 0x04c11db7 : 0);
  }
  return value >>> 0;
}

t.test('the checksum has its check value and agrees with its definition', (t) => {
  t.equal(crc(Buffer.from('123456789')), 0x89a1897f);
  t.equal(crc(Buffer.alloc(100)), 0, 'zeros have checksum 0');
  const random = seededRandom(1);
  const bytes = pages(random, 300);
  const wrong: number[] = [];
  for (let length = 0; length <= bytes.length; length++) {
    const part = bytes.subarray(0, length);
    const cut = random.int(0, length);
    const chained = crc(part.subarray(cut), crc(part.subarray(0, cut)));
    if (crc(part) !== slowCrc(part) || chained !== slowCrc(part)) wrong.push(length);
  }
  t.same(wrong, [], 'at all lengths, in one piece and in two');
  t.end();
});

t.test('file names are told apart', (t) => {
  t.same(parseFileName('0000000000000017-0000000000000032'), {
    kind: 'closed',
    first: 17,
    last: 32,
  });
  t.same(parseFileName('open-12'), { kind: 'open', counter: 12 });
  const id = { term: 2 as Term, index: 96 as Index, timestamp: 1138222 };
  t.same(parseFileName('snapshot-2-96-1138222'), { kind: 'snapshot', id });
  t.same(parseFileName('snapshot-2-96-1138222.meta'), { kind: 'snapshotMeta', id });
  t.equal(snapshotName(id), 'snapshot-2-96-1138222');
  t.equal(closedSegmentName(1 as Index, 42 as Index), '0000000000000001-0000000000000042');
  t.same(parseFileName('tmp-open-3').kind, 'temporary');
  t.same(parseFileName('corrupt-5-open-3').kind, 'aside');
  t.same(parseFileName('metadata2').kind, 'metadata');
  const foreign = [
    'dqlite-lock',
    'info.yaml',
    'open-',
    'open-x',
    '1-2',
    '0000000000000005-0000000000000004',
  ];
  for (const name of foreign) t.same(parseFileName(name).kind, 'foreign', name);
  t.end();
});

t.test('ids are generated as go-dqlite does', (t) => {
  t.equal(generatedServerId('1', 0n), 0x2dc171858c3155ben);
  t.equal(generatedServerId('127.0.0.1:9001', 0n), 0x0da5fcff21276742n);
  t.equal(generatedServerId('127.0.0.1:9001', 1700000000000000000n), 0x3fa77a5c410f094an);
  t.end();
});

t.test('metadata', async (t) => {
  async function withFiles(files: Record<string, Buffer>): Promise<MemoryDisk> {
    const memory = new MemoryDisk(['/data']);
    for (const [name, bytes] of Object.entries(files))
      await writeWhole(memory, `/data/${name}`, bytes);
    return memory;
  }
  async function load(memory: MemoryDisk) {
    return loadMetadata(memory, '/data', await memory.list('/data'));
  }
  function version(number: number, term = number): Buffer {
    return encodeMetadata({
      version: number,
      vote: { term: term as Term, votedFor: 3n as ServerId },
    });
  }

  t.test('every store is in the other file, and the newest counts', async (t) => {
    const memory = await withFiles({});
    let metadata = await load(memory);
    t.same(metadata, noMetadata);
    for (let term = 1; term <= 5; term++) {
      const vote = { term: term as Term, votedFor: term % 2 === 0 ? undefined : (7n as ServerId) };
      metadata = await storeMetadata(memory, '/data', metadata, vote);
      t.same(await load(memory), { version: term, vote });
    }
    t.same((await memory.list('/data')).toSorted(), ['metadata1', 'metadata2']);
  });

  const acceptable: [string, Record<string, Buffer>, number][] = [
    ['nothing', {}, 0],
    ['an empty first file', { metadata1: Buffer.alloc(0) }, 0],
    ['the first alone', { metadata1: version(1) }, 1],
    ['the first, and the second cut off', { metadata1: version(1), metadata2: Buffer.alloc(7) }, 1],
    ['both, the second newer', { metadata1: version(3), metadata2: version(4) }, 4],
    ['both, the first newer', { metadata1: version(5), metadata2: version(4) }, 5],
  ];
  for (const [name, files, expected] of acceptable) {
    t.test(`${name} is version ${expected}`, async (t) => {
      t.equal((await load(await withFiles(files))).version, expected);
    });
  }

  const refused: [string, Record<string, Buffer>][] = [
    ['the newer one cut off', { metadata1: version(5), metadata2: version(6).subarray(0, 31) }],
    ['the other one missing', { metadata2: version(6) }],
    ['33 bytes', { metadata1: Buffer.concat([version(1), Buffer.alloc(1)]) }],
    ['another format', { metadata1: Buffer.alloc(32, 2) }],
    ['version 0', { metadata1: version(0, 4) }],
    ['a version in the wrong file', { metadata1: version(2), metadata2: version(1) }],
    ['versions that do not follow', { metadata1: version(1), metadata2: version(4) }],
  ];
  for (const [name, files] of refused) {
    t.test(`${name} is refused with the file's name`, async (t) => {
      await t.rejects(load(await withFiles(files)), {
        name: 'StorageError',
        path: /\/data\/metadata[12]/,
      });
    });
  }
});

t.test('segments', async (t) => {
  const entries = [entry(1, 1, 8), entry(2, 1, 4144), entry(3, 2 ** 40, 16)];

  async function scan(bytes: Buffer) {
    const memory = new MemoryDisk(['/data']);
    await writeWhole(memory, '/data/segment', bytes);
    const found: unknown[] = [];
    const file = await memory.openForReading('/data/segment');
    const result = await scanSegment(file, 1 as Index, (batch) => {
      found.push(
        ...batch.entries.map(({ index, term, type, data }) => [index, term, type, data.length]),
      );
    });
    return { found, ...result };
  }

  t.test('the bytes of a small segment', (t) => {
    const bytes = encodeSegment([entry(1, 5, Buffer.from('abcdefgh'))]);
    const header = '0100000000000000 0500000000000000 01000000 08000000';
    const headerBytes = Buffer.from(header.replaceAll(' ', ''), 'hex');
    const checksums = Buffer.alloc(8);
    checksums.writeUInt32LE(slowCrc(headerBytes), 0);
    checksums.writeUInt32LE(slowCrc(Buffer.from('abcdefgh')), 4);
    const format = Buffer.from('0100000000000000', 'hex');
    t.same(bytes, Buffer.concat([format, checksums, headerBytes, Buffer.from('abcdefgh')]));
    t.end();
  });

  t.test('what was encoded is read back', async (t) => {
    const bytes = Buffer.concat([encodeSegment(entries), encodeBatch([entry(4, 3, 24)])]);
    const result = await scan(bytes);
    t.same(result.found, [
      [1, 1, 'command', 8],
      [2, 1, 'command', 4144],
      [3, 2 ** 40, 'command', 16],
      [4, 3, 'command', 24],
    ]);
    t.match(result, { batches: 2, entries: 4, usedBytes: bytes.length, end: { kind: 'exact' } });
  });

  t.test('a batch larger than what is read at once', async (t) => {
    const large = [entry(1, 1, 3 * 1024 * 1024), entry(2, 1, 8)];
    const result = await scan(Buffer.concat([encodeSegment(large), encodeBatch([entry(3, 1, 8)])]));
    t.match(result, { batches: 2, entries: 3, end: { kind: 'exact' } });
  });

  t.test('the place of damage is exact, and a whole batch behind it is found', async (t) => {
    const one = encodeSegment(entries);
    const two = encodeBatch([entry(4, 3, 800), entry(5, 3, 8)]);
    const three = encodeBatch([entry(6, 3, 24)]);
    const offsets = { two: one.length, three: one.length + two.length };
    const zeros = Buffer.alloc(8192);
    const wrong: string[] = [];
    for (let bit = 0; bit < two.length * 8; bit += 37) {
      const damaged = Buffer.from(two);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const middle = await scan(Buffer.concat([one, damaged, three, zeros]));
      const last = await scan(Buffer.concat([one, damaged, zeros]));
      const ends = [middle.end, last.end];
      const places = ends.map((end) =>
        end.kind === 'damaged' ? `${end.offset} ${end.wholeBatchAt}` : end.kind,
      );
      const expected = [`${offsets.two} ${offsets.three}`, `${offsets.two} undefined`];
      if (places.join() !== expected.join()) wrong.push(`bit ${bit}: ${places.join()}`);
    }
    t.same(wrong, []);
  });

  t.test('how a segment can end', async (t) => {
    const whole = encodeSegment(entries);
    const end = async (bytes: Buffer) => (await scan(bytes)).end.kind;
    t.equal(await end(Buffer.alloc(0)), 'exact');
    t.equal(await end(Buffer.alloc(5)), 'zeros');
    t.equal(await end(Buffer.alloc(8 * 1024 * 1024)), 'zeros');
    t.equal(await end(whole), 'exact');
    t.equal(await end(Buffer.concat([whole, Buffer.alloc(8)])), 'zeros');
    t.equal(await end(Buffer.concat([whole, Buffer.alloc(4096)])), 'zeros');
    t.equal(await end(whole.subarray(0, whole.length - 8)), 'damaged');
    t.equal(await end(Buffer.concat([whole, Buffer.alloc(4096), Buffer.from([1])])), 'damaged');
    t.equal(await end(Buffer.concat([Buffer.alloc(8), whole.subarray(8)])), 'damaged', 'format 0');
    t.equal(await end(Buffer.alloc(3, 1)), 'damaged');
  });

  t.test('a count that promises more than the file has is no batch', async (t) => {
    const bytes = encodeSegment(entries);
    bytes.writeUInt32LE(0xffffffff, 16);
    t.match(await scan(bytes), { entries: 0, end: { kind: 'damaged', offset: 8 } });
  });
});

t.test('snapshot data', async (t) => {
  const random = seededRandom(5);
  const directory = await realDirectory(t);
  const bytes = pages(random, 1_000_003);

  async function decode(path: string): Promise<Buffer> {
    const reader = await SnapshotReader.open(disk, path);
    try {
      return await collect(reader.chunks());
    } finally {
      await reader.close();
    }
  }

  t.test('lz4 reads what we write, and sees size and checksum', async (t) => {
    for (const size of [0, 1, 65_536, 65_537, bytes.length]) {
      const path = join(directory, `ours-${size}`);
      const part = bytes.subarray(0, size);
      t.equal(await writeSnapshotData(disk, path, content(part).chunks()), size);
      t.ok(execFileSync('lz4', ['-dcq', path], { maxBuffer: 1 << 24 }).equals(part), `${size}`);
      t.ok((await decode(path)).equals(part), `${size} read back`);
      const header = await readFile(path);
      t.equal(header.subarray(0, 6).toString('hex'), '04224d186c40');
      t.equal(header.readBigUInt64LE(6), BigInt(size), 'content size');
    }
  });

  t.test('content that does not compress is stored as it is', async (t) => {
    const noise = Buffer.from(Array.from({ length: 200_000 }, () => random.int(0, 255)));
    const path = join(directory, 'noise');
    await writeSnapshotData(disk, path, content(noise, 7).chunks());
    t.ok(execFileSync('lz4', ['-dcq', path], { maxBuffer: 1 << 24 }).equals(noise));
    t.ok((await decode(path)).equals(noise));
  });

  t.test('we read what lz4 writes, whatever its options', async (t) => {
    const source = join(directory, 'source');
    await writeFile(source, bytes);
    const blocks = ['-B4', '-B5', '-B6', '-B7'].flatMap((size) => [[size], [size, '-BD']]);
    const options = [[], ['--content-size'], ['--no-frame-crc'], ['-BX'], ['-9']];
    for (const option of options.flatMap((some) => blocks.map((block) => [...block, ...some]))) {
      const path = join(directory, `theirs${option.join('')}`);
      execFileSync('lz4', ['-qf', ...option, source, path]);
      t.ok((await decode(path)).equals(bytes), option.join(' '));
    }
  });

  t.test('a file that is no frame is the content itself', async (t) => {
    const path = join(directory, 'bare');
    await writeFile(path, bytes);
    const reader = await SnapshotReader.open(disk, path);
    t.notOk(reader.compressed);
    t.equal(await reader.contentSize(), bytes.length);
    t.ok((await collect(reader.chunks())).equals(bytes));
    await reader.close();
  });

  t.test('every damage to a frame is noticed', async (t) => {
    const small = bytes.subarray(0, 150_000);
    const path = join(directory, 'whole');
    await writeSnapshotData(disk, path, content(small).chunks());
    const whole = await readFile(path);
    const unnoticed: string[] = [];
    async function check(name: string, damaged: Buffer): Promise<void> {
      const other = join(directory, 'damaged');
      await writeFile(other, damaged);
      const found = await decode(other).catch((error: unknown) => error);
      // A changed reference into equal bytes decodes to the same content: no damage.
      const same = Buffer.isBuffer(found) && found.equals(small);
      if (!same && !(found instanceof StorageError && found.path === other)) unnoticed.push(name);
    }
    for (let at = 4; at < whole.length; at += at < 40 ? 1 : 1009) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << random.int(0, 7));
      await check(`flip at ${at}`, damaged);
      await check(`cut at ${at}`, whole.subarray(0, at));
    }
    await check('a byte behind', Buffer.concat([whole, Buffer.alloc(1)]));
    t.same(unnoticed, []);
  });

  t.test('a source that fails leaves no file', async (t) => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield bytes;
      throw new Error('the link broke');
    }
    await t.rejects(writeSnapshotData(disk, join(directory, 'broken'), broken()), /link broke/);
    t.notOk((await readdir(directory)).includes('broken'));
  });
});
