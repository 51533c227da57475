import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import t from 'tap';
import { run } from '../../src/cli/main.ts';
import { checkDisk } from '../../src/storage/disk-check.ts';

const directory = await mkdtemp(join(tmpdir(), 'dqlited-check-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));

async function dqlited(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await run(args, { in: Readable.from([]), out, err, environment: {} });
  return { code, out: String(out.read() ?? ''), err: String(err.read() ?? '') };
}

t.test('each back end is measured or says why not, and nothing is left behind', async (t) => {
  const { backends, directIo } = await checkDisk(directory, 0.1);
  t.same(
    backends.map(({ backend }) => backend),
    ['io_uring', 'thread', 'node'],
  );
  t.type(directIo, 'boolean');
  t.equal(backends.at(-1)?.obstacle, undefined, 'node:fs is everywhere');
  for (const { backend, obstacle, appends } of backends) {
    t.equal(appends.length, obstacle === undefined ? 2 : 0, `${backend}: ${obstacle}`);
    for (const { count, p50Us, p99Us, maxUs, histogram } of appends) {
      t.ok(count >= 100 && p50Us > 0 && p50Us <= p99Us && p99Us <= maxUs, backend);
      t.equal(
        histogram.reduce((sum, bucket) => sum + bucket.count, 0),
        count,
        `${backend}: every append is in the histogram`,
      );
    }
  }
  t.same(await readdir(directory), []);
});

t.test('check disk prints what to expect, for people and for programs', async (t) => {
  const text = await dqlited('check', 'disk', directory, '--seconds', '1');
  t.match(text, { code: 0, err: '' });
  t.match(text.out, /direct I\/O[\s\S]*io_uring[\s\S]*transactions a second[\s\S]*LOG ON[\s\S]*#/);
  const json = await dqlited('check', 'disk', directory, '--seconds', '1', '--json');
  t.equal(json.code, 0);
  t.match(JSON.parse(json.out), { directory, backends: [{}, {}, { backend: 'node' }] });
  t.same(await readdir(directory), []);
});

t.test('a directory that is not there is misuse, one that takes nothing a failure', async (t) => {
  const absent = await dqlited('check', 'disk', join(directory, 'none'));
  t.match(absent, { code: 2, err: /there is no directory/ });
  const unwritable = await dqlited('check', 'disk', '/proc');
  t.equal(unwritable.code === 0, false);
  t.notMatch(unwritable.err, /\n {4}at /);
  const misused = await dqlited('check', 'disk', directory, '--seconds', '0');
  t.equal(misused.code, 2);
});
