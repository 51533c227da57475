import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { crc } from '../../src/storage/crc.ts';
import { blockBytes, type Disk, readWhole, writeWhole } from '../../src/storage/disk.ts';

/** A disk to be tested and a directory of its own on it. */
export interface DiskUnderTest {
  readonly disk: Disk;
  readonly directory: string;
  /** Whether the directory is on the real file system, where others can look at it. */
  readonly real: boolean;
}

/** An empty directory on the real file system, removed when the test ends. */
export async function realDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dqlited-disk-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** What every Disk must do, whatever it writes with. */
export function diskConformance(
  t: Test,
  name: string,
  make: (t: Test) => Promise<DiskUnderTest>,
): void {
  t.test(`${name}: files`, async (t) => {
    await files(t, await make(t));
  });
  t.test(`${name}: names`, async (t) => {
    await names(t, await make(t));
  });
  t.test(`${name}: the log`, async (t) => {
    await log(t, await make(t));
  });
  t.test(`${name}: a log made in one go`, async (t) => {
    await madeLog(t, await make(t));
  });
  t.test(`${name}: checksums are those of the log`, async (t) => {
    const { disk } = await make(t);
    const bytes = Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * at) >> 3));
    for (const length of [0, 1, 16, 127, 128, 255, 256, 1000, 4096, 5000]) {
      const part = bytes.subarray(7, length);
      t.equal(disk.crc?.(part) ?? crc(part), crc(part), `${length} bytes`);
      t.equal(disk.crc?.(part, 0x89a1897f) ?? crc(part, 0x89a1897f), crc(part, 0x89a1897f));
    }
  });
  t.test(`${name}: failures carry Node's codes`, async (t) => {
    await failures(t, await make(t));
  });
}

async function files(t: Test, { disk, directory, real }: DiskUnderTest): Promise<void> {
  const path = join(directory, 'file');
  const file = await disk.create(path);
  await file.write(Buffer.from('hello'), 0);
  await file.write(Buffer.from('end'), 10);
  await file.sync();
  t.equal((await readWhole(disk, path)).toString('latin1'), 'hello\0\0\0\0\0end', 'holes are zero');
  await file.truncate(4);
  await file.truncate(6);
  await file.sync();
  await file.close();
  t.equal((await readWhole(disk, path)).toString('latin1'), 'hell\0\0', 'regrown bytes are zero');
  if (real) t.equal((await stat(path)).mode & 0o777, 0o600, 'only the owner may read');

  const again = await disk.openForWriting(path);
  await again.write(Buffer.from('J'), 0);
  await again.sync();
  await again.close();
  const reader = await disk.openForReading(path);
  t.equal(reader.sizeBytes, 6);
  const target = Buffer.alloc(4, 1);
  t.equal(await reader.read(target, 4), 2, 'a read behind the end is short');
  t.same(target, Buffer.from([0, 0, 1, 1]));
  t.equal(await reader.read(target, 9), 0);
  await disk.remove(path);
  t.equal(await reader.read(target, 0), 4, 'a removed file can be read while it is open');
  t.equal(target.toString(), 'Jell');
  await reader.close();
}

async function names(t: Test, { disk, directory }: DiskUnderTest): Promise<void> {
  const at = (name: string) => join(directory, name);
  t.same(await disk.list(directory), []);
  await writeWhole(disk, at('a'), Buffer.from('a'));
  await writeWhole(disk, at('b'), Buffer.from('b'));
  await disk.syncDirectory(directory);
  t.same([...(await disk.list(directory))].sort(), ['a', 'b']);
  await disk.rename(at('a'), at('b'));
  t.same(await disk.list(directory), ['b'], 'a rename replaces');
  t.equal((await readWhole(disk, at('b'))).toString(), 'a');
  await disk.rename(at('b'), at('c'));
  await disk.remove(at('c'));
  await disk.syncDirectory(directory);
  t.same(await disk.list(directory), []);
}

async function log(t: Test, { disk, directory, real }: DiskUnderTest): Promise<void> {
  const path = join(directory, 'log');
  await writeWhole(disk, path, Buffer.alloc(64 * blockBytes));
  const memory = disk.allocate(16 * blockBytes);
  t.equal(memory.length, 16 * blockBytes);
  t.ok(
    memory.every((byte) => byte === 0),
    'memory comes zeroed',
  );
  const expected = Buffer.alloc(64 * blockBytes);
  const file = await disk.openLog(path);
  for (const [write, [from, blocks]] of [
    [0, 1],
    [0, 2],
    [1, 15],
    [17, 16],
    [63, 1],
  ].entries()) {
    const part = memory.subarray(0, (blocks ?? 0) * blockBytes).fill(write + 1);
    await file.writeDurably(part, (from ?? 0) * blockBytes);
    part.copy(expected, (from ?? 0) * blockBytes);
    // What a write covered is not touched by changes made to the memory afterwards.
    memory.fill(0xee);
    t.ok((await readWhole(disk, path)).equals(expected), `write ${write} is where it belongs`);
  }
  await file.writeDurably(memory.subarray(3 * blockBytes, 4 * blockBytes), 5 * blockBytes);
  expected.fill(0xee, 5 * blockBytes, 6 * blockBytes);
  await file.close();
  const bytes = await readWhole(disk, path);
  t.ok(bytes.equals(expected), 'a part from the middle of the memory');
  if (real) t.ok((await readFile(path)).equals(expected), 'as others see it');
  if (real) t.same(await readdir(directory), ['log'], 'nothing else is left behind');
}

async function madeLog(t: Test, { disk, directory }: DiskUnderTest): Promise<void> {
  if (disk.createLog === undefined) return void t.pass('this disk has no quicker way');
  for (const name of ['first', 'second']) {
    const file = await disk.createLog(directory, name, 40 * blockBytes);
    if (file === undefined) return void t.pass('no direct I/O in this directory');
    const path = join(directory, name);
    const expected = Buffer.alloc(40 * blockBytes);
    t.ok((await readWhole(disk, path)).equals(expected), 'zeros');
    await file.writeDurably(disk.allocate(blockBytes).fill(7), 39 * blockBytes);
    t.ok((await readWhole(disk, path)).equals(expected.fill(7, 39 * blockBytes)));
    await file.close();
  }
  t.same([...(await disk.list(directory))].sort(), ['first', 'second'], 'nothing else');
  const missing = disk.createLog(join(directory, 'missing'), 'log', blockBytes);
  await t.rejects(missing, { code: 'ENOENT' });
}

async function failures(t: Test, { disk, directory }: DiskUnderTest): Promise<void> {
  const missing = join(directory, 'missing');
  await t.rejects(disk.list(missing), { code: 'ENOENT' });
  await t.rejects(disk.openForReading(missing), { code: 'ENOENT' });
  await t.rejects(disk.openForWriting(missing), { code: 'ENOENT' });
  await t.rejects(disk.openLog(missing), { code: 'ENOENT' });
  await t.rejects(disk.rename(missing, join(directory, 'other')), { code: 'ENOENT' });
  await t.rejects(disk.remove(missing), { code: 'ENOENT' });
  await writeWhole(disk, missing, Buffer.from('x'));
  await t.rejects(disk.create(missing), { code: 'EEXIST' });
}
