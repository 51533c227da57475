#!/usr/bin/env node
/**
 * By hand, as root, with the freezer of cgroup v1: a writer on the addon that is frozen and thawed again and again, as
 * `docker pause` does. Says how much was written and whether anything stalled or failed; exits with 1 when it did.
 *
 * node scripts/frozen-writer.mjs [SECONDS] [MIN_MS] [MAX_MS] [--no-threads]
 *
 * --no-threads: a limit on processes (cgroup v1 pids) keeps the kernel from making a thread for the syncs, too.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const [seconds, minMs, maxMs] = [words[0] ?? 60, words[1] ?? 50, words[2] ?? 500].map(Number);
const withoutThreads = process.argv.includes('--no-threads');

const directory = mkdtempSync(join(tmpdir(), 'dqlited-frozen-'));
const groups = ['freezer', ...(withoutThreads ? ['pids'] : [])];
const pathOf = (controller) => `/sys/fs/cgroup/${controller}/dqlited-${process.pid}`;
for (const controller of groups) mkdirSync(pathOf(controller));
const freezer = join(pathOf('freezer'), 'freezer.state');

const writer = `
  import { openDisk } from ${JSON.stringify(new URL('../src/storage/open-disk.ts', import.meta.url))};
  import { writeFileSync } from 'node:fs';
  const path = process.argv[1];
  writeFileSync(path, Buffer.alloc(1 << 20));
  await new Promise((resolve) => process.stdin.once('data', resolve));
  const disk = openDisk('io_uring').disk;
  const file = await disk.openLog(path);
  const bytes = disk.allocate(4096);
  let written = 0;
  let since = 0;
  let longest = 0;
  setInterval(() => {
    since = written === longest ? since + 1 : 0;
    longest = written;
    if (since > 1) disk.nudge();
    console.log(JSON.stringify({ written, since }));
  }, 1000);
  for (;; written++) {
    bytes.fill(written & 255);
    await file.writeDurably(bytes, (written & 255) * 4096);
  }`;
const child = spawn(
  process.execPath,
  ['--import=tsx', '--input-type=module', '--eval', writer, join(directory, 'file')],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
let last = { written: 0, since: 0 };
let stalledSeconds = 0;
child.stdout.on('data', (text) => {
  last = JSON.parse(String(text).trim().split('\n').at(-1));
  stalledSeconds = Math.max(stalledSeconds, last.since);
});
let ended;
child.on('exit', (code, signal) => {
  ended = { code, signal };
});

await pause(1500);
for (const controller of groups)
  writeFileSync(join(pathOf(controller), 'cgroup.procs'), `${child.pid}`);
if (withoutThreads) {
  writeFileSync(
    join(pathOf('pids'), 'pids.max'),
    readFileSync(join(pathOf('pids'), 'pids.current')),
  );
}
child.stdin.write('start\n');
const random = () => pause(minMs + Math.random() * (maxMs - minMs));
const until = performance.now() + seconds * 1000;
let freezes = 0;
while (performance.now() < until && ended === undefined) {
  await random();
  writeFileSync(freezer, 'FROZEN');
  await random();
  writeFileSync(freezer, 'THAWED');
  freezes++;
}
// Thawed, it must go on.
const { written } = last;
const deadline = performance.now() + 10_000;
while (last.written <= written + 1 && performance.now() < deadline && ended === undefined)
  await pause(100);
const goesOn = last.written > written + 1;
const report = { freezes, written: last.written, stalledSeconds, goesOn, ended };
process.stdout.write(`${JSON.stringify(report)}\n`);
child.kill('SIGKILL');
await pause(200);
for (const controller of groups) rmdirSync(pathOf(controller));
rmSync(directory, { recursive: true });
process.exit(goesOn && ended === undefined ? 0 : 1);
