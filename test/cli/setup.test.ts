import { spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { outside } from '../support/outside.ts';

const root = join(import.meta.dirname, '../..');
const main = (greeting: string): string =>
  `export async function main(): Promise<void> { process.stdout.write('${greeting}\\n'); }\n`;

/** A checkout with one source file. Its packages are there unless `packages` is false. */
function checkout(t: Test, packages = true): string {
  const directory = t.testdir({ src: { cli: { 'main.ts': main('one') } }, tools: {} });
  for (const path of ['bin', 'scripts/setup.mjs', 'package.json', 'package-lock.json']) {
    cpSync(join(root, path), join(directory, path), { recursive: true });
  }
  for (const path of ['tsconfig.json', 'tsconfig.build.json']) {
    cpSync(join(root, path), join(directory, path));
  }
  if (packages) symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}

/** Puts a program into the only folder besides Node's own in which programs are looked for. */
function tool(directory: string, name: string, script: string): void {
  const path = join(directory, 'tools', name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

/** Runs the executable of a checkout; nothing but Node and `tools` can be found by it. */
function run(directory: string): Promise<{ code: number | null; out: string; err: string }> {
  const tools = join(directory, 'tools');
  const child = spawn(...outside(process.execPath, [join(directory, 'bin/dqlited')]), {
    env: { PATH: `${tools}:/usr/bin/env-only`, HOME: directory },
  });
  let [out, err] = ['', ''];
  child.stdout?.on('data', (bytes) => {
    out += bytes;
  });
  child.stderr?.on('data', (bytes) => {
    err += bytes;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

t.test('a checkout builds itself once, however many processes need it', async (t) => {
  const directory = checkout(t);

  const both = await Promise.all([run(directory), run(directory)]);
  const stamp = join(directory, 'dist/.stamp');
  const builtAt = statSync(stamp).mtimeMs;
  const again = await run(directory);

  t.strictSame(
    both.map(({ code, out }) => ({ code, out })),
    [
      { code: 0, out: 'one\n' },
      { code: 0, out: 'one\n' },
    ],
  );
  t.equal(both.map(({ err }) => err).join(''), 'dqlited: building dist/ (tsc)\n');
  t.strictSame(again, { code: 0, out: 'one\n', err: '' });
  t.equal(statSync(stamp).mtimeMs, builtAt);

  writeFileSync(join(directory, 'src/cli/main.ts'), main('two'));
  t.strictSame(await run(directory), {
    code: 0,
    out: 'two\n',
    err: 'dqlited: building dist/ (tsc)\n',
  });
});

t.test('missing packages are installed with npm', async (t) => {
  const directory = checkout(t, false);
  tool(
    directory,
    'npm',
    `echo "npm $*" >&2; /bin/ln -s ${join(root, 'node_modules')} node_modules`,
  );

  const { code, err } = await run(directory);

  t.equal(code, 0);
  t.match(
    err,
    /^dqlited: installing packages \(npm install\)\nnpm install --no-save --include=dev .*\ndqlited: building dist/,
  );
});

t.test('a step that fails is one line and exit code 1', async (t) => {
  const directory = checkout(t, false);
  tool(directory, 'npm', 'exit 1');

  const { code, out, err } = await run(directory);

  t.match({ code, out }, { code: 1, out: '' });
  t.match(err, /dqlited: npm install .*failed, see above\n$/);
  t.notMatch(err, /\n {4}at /);
});

t.test(
  'the addon is left out where cargo is missing or fails, and is not tried again',
  async (t) => {
    const directory = checkout(t);
    mkdirSync(join(directory, 'native-aio'));
    writeFileSync(join(directory, 'native-aio/build.mjs'), 'process.exit(1);\n');

    t.match((await run(directory)).err, /no cargo here: the log is written through node:fs/);
    t.equal((await run(directory)).err, '');

    tool(directory, 'cargo', 'exit 0');
    t.match(
      (await run(directory)).err,
      /building the io_uring addon[\s\S]*failed, see above; the log is written/,
    );
    t.match(await run(directory), { code: 0, err: '' });
  },
);

t.test('an installed package has nothing to set up', async (t) => {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  t.ok(
    ['bin', 'dist/src'].every((path) => files.includes(path)),
    'both are packed',
  );
  const directory = t.testdir({
    'package.json': '{"type":"module"}',
    tools: {},
    dist: { src: { cli: { 'main.js': main('packed').replace(': Promise<void>', '') } } },
  });
  cpSync(join(root, 'bin'), join(directory, 'bin'), { recursive: true });

  t.strictSame(await run(directory), { code: 0, out: 'packed\n', err: '' });
});
