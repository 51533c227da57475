/**
 * `npm test`: set-up, types, lint and format, then every test. Prints one line for each file, what was skipped and the whole
 * story of each failure; test.log keeps everything. The last line is `N passed, N failed[, N skipped]`.
 * Arguments are test files: `npm test -- test/server/config.test.ts`.
 */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setUpOrExit } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const counts = { passed: 0, failed: 0, skipped: 0 };

await setUpOrExit();
const files = process.argv.slice(2);
if (files.length === 0) {
  await check('types', ['node_modules/typescript/lib/tsc.js', '-p', '.']);
  await check('lint and format', [
    'node_modules/@biomejs/biome/bin/biome',
    'ci',
    '--colors=off',
    '.',
  ]);
}
await tests(files);

const { passed, failed, skipped } = counts;
print(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;

/** One check that prints nothing when all is well. */
async function check(name, args) {
  const lines = [];
  const code = await run(args, (line) => lines.push(line));
  count(code === 0 ? 'passed' : 'failed');
  if (code !== 0) for (const line of lines) print(line);
  print(`${code === 0 ? 'ok' : 'not ok'} - ${name}`);
}

/** Runs tap and retells what it says (TAP version 14: two levels, files and their tests). */
async function tests(args) {
  const log = createWriteStream(`${root}/test.log`);
  let file = [];
  let total;
  const tap = ['node_modules/.bin/tap', '--reporter=tap', '--disable-coverage', ...args];
  const code = await run(tap, (line) => {
    log.write(`${line}\n`);
    const end = /^(not )?ok \d+ - (.*)$/.exec(line);
    if (end !== null) {
      if (end[1] !== undefined) for (const told of failures(file)) print(told);
      print(`${end[1] === undefined ? 'ok' : 'not ok'} - ${end[2]}`);
      for (const told of [...skips(file), ...remarks(file)]) print(told);
      file = [];
    } else if (line.startsWith('# {')) total = line;
    else file.push(line);
  });
  log.end();
  // "# { total: 9, pass: 7, fail: 1, skip: 1 }": todo counts as failed, nothing may be left undone.
  const of = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(total ?? '')?.[1] ?? 0);
  count('passed', of('pass'));
  count('failed', of('fail') + of('todo'));
  count('skipped', of('skip'));
  if (code !== 0 && of('fail') + of('todo') === 0) {
    for (const line of file) print(line);
    count('failed');
  }
}

/** What a file's report says was not run, and why: nobody shall believe that it was. */
function skips(lines) {
  return lines.flatMap((line) => {
    const [, test, reason] = /^\s*ok \d+ - (.*?) # SKIP ?(.*)$/.exec(line) ?? [];
    return test === undefined ? [] : `  skipped - ${test}: ${reason}`;
  });
}

/** What a test wants known of a run that went well: `t.comment('told: ...')`. */
function remarks(lines) {
  return lines.flatMap((line) => {
    const [, remark] = /^\s*# told: (.*)$/.exec(line) ?? [];
    return remark === undefined ? [] : `  ${remark}`;
  });
}

/** The lines of a file's report without those of tests that passed. */
function failures(lines) {
  return lines.filter((line) => !/^\s*(ok \d+|TAP version|1\.\.\d+|# (Subtest|time)|$)/.test(line));
}

function count(outcome, number = 1) {
  counts[outcome] += number;
}

/** Runs a script with Node, gives each line of its output to `onLine` and returns its exit code. */
function run(args, onLine) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', onLine);
  }
  return new Promise((resolve) => child.on('close', resolve));
}

function print(line) {
  process.stdout.write(`${line}\n`);
}
