import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { loadNativeAddon } from '../../src/storage/native-addon.ts';
import { openDisk } from '../../src/storage/open-disk.ts';

const { addon, reason } = loadNativeAddon();
const ringObstacle = addon === undefined ? reason : (addon.ioUringObstacle() ?? undefined);
const backends = {
  io_uring: ringObstacle,
  'separate sync': ringObstacle,
  thread: reason,
};

/** Runs one case of native-aio-child.mjs on an empty file of 1 MiB; what it printed and how it ended. */
async function child(name: string, backend: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dqlited-aio-'));
  const path = join(directory, 'file');
  await writeFile(path, Buffer.alloc(1024 * 1024));
  try {
    return await output([
      '--expose-gc',
      join(import.meta.dirname, 'native-aio-child.mjs'),
      name,
      backend,
      path,
    ]);
  } finally {
    await rm(directory, { recursive: true });
  }
}

function output(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, args, {
      env: { ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [running.stdout, running.stderr]) {
      stream.on('data', (bytes) => {
        text += bytes;
      });
    }
    running.on('error', reject);
    running.on('close', (code, signal) => {
      resolve(code === 0 ? text.trim() : `${text}code ${code} ${signal}`);
    });
  });
}

const facts: readonly [sentence: string, name: string, printed: string][] = [
  ['memory is kept for writes in flight whose source was collected', 'collected', 'true 60'],
  ['closing waits for the writes in flight', 'closed', '60 0 the writer is closed'],
  ['a callback may close its writer', 'closedByItsCallback', 'true'],
  ['a thread may end with writes in flight', 'workers', 'true'],
  ['an exception in the callback is uncaught', 'thrown', 'from the callback'],
  ['the loop runs until the last write is done and no longer', 'idle', '4096'],
  ['failures are results', 'failed', '-22,4096'],
  ['misuse is refused', 'refused', 'true'],
  ['memory is given back', 'bounded', 'true'],
];

for (const [backend, obstacle] of Object.entries(backends)) {
  t.test(backend, { skip: obstacle ?? false }, async (t) => {
    for (const [sentence, name, printed] of facts) {
      t.equal(await child(name, backend), printed, sentence);
    }
  });
}

t.test('doorbells', { skip: reason ?? false }, async (t) => {
  t.equal(await child('rung', 'thread'), 'true 0 object', 'another thread is woken');
  t.equal(await child('bellsOfThreads', 'thread'), 'true', 'a thread may end with its bell hung');
  t.equal(await child('bellsAlone', 'thread'), 'there is a bell of this number, rung');
});

t.test(
  'memory for direct I/O starts on a page and is zero',
  { skip: reason ?? false },
  async (t) => {
    const disk = openDisk('thread').disk;
    const memory = disk.allocate(10_000);
    t.equal(memory.length, 10_000);
    t.ok(memory.every((byte) => byte === 0));
    try {
      structuredClone(memory.buffer, { transfer: [memory.buffer as ArrayBuffer] });
    } catch {
      // Later versions of Node refuse; Node 20 copies.
    }
    t.equal(memory.length, 10_000, 'a transfer does not take it away');
  },
);

t.test('a back end that is not there is told with its reason', async (t) => {
  const place = JSON.stringify(join(import.meta.dirname, '../../src/storage/open-disk.ts'));
  const script = `import { openDisk } from ${place};
    const { backend, reason } = openDisk();
    console.log(backend, reason);
    try { openDisk('thread'); } catch (error) { console.log(error.message); }`;
  const args = ['--import=tsx', '--input-type=module', '--eval', script];
  const told = await output(args, { NATIVE_AIO: 'off' });
  t.equal(
    told,
    'node switched off by NATIVE_AIO=off\nno native back end: switched off by NATIVE_AIO=off',
  );
});
