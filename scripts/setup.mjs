/**
 * Makes a checkout runnable: installs the packages of package-lock.json, compiles src/ to dist/ and, where
 * cargo is, the native addon. Uses nothing but Node, says one line for each step on stderr, and does only
 * what is out of date. `npm test` checks the types; this only translates.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const checkout = fileURLToPath(new URL('..', import.meta.url));

/** Sets up the checkout at `root`. Throws an Error with one clear sentence when a step fails. */
export async function setUp(root = checkout) {
  const steps = [packages(root), build(root), addon(root)];
  if (steps.every((step) => step.isCurrent())) return;
  const unlock = await lock(root);
  try {
    for (const step of steps) {
      // Another process may have done it while this one waited for the lock.
      if (!step.isCurrent()) await step.run();
    }
  } finally {
    unlock();
  }
}

/** The same for programs: a failed step is one line on stderr and exit code 1. */
export async function setUpOrExit() {
  try {
    await setUp();
  } catch (error) {
    say(error.message);
    process.exit(1);
  }
}

/** node_modules holds what package-lock.json says. */
function packages(root) {
  const stamp = join(root, 'node_modules', '.dqlited-packages');
  const lockText = () => readFileSync(join(root, 'package-lock.json'), 'utf8');
  return {
    isCurrent() {
      const wanted = digest([lockText()]);
      if (read(stamp) === wanted) return true;
      if (!installedAsLocked(root, lockText())) return false;
      tryToWrite(stamp, wanted);
      return true;
    },
    async run() {
      say('installing packages (npm install)');
      await command(root, 'npm', [
        // Not `npm ci`: it refuses a lock file without the optional packages of platforms that the registry
        // at hand does not have. Versions come from the lock file either way, which is left as it is.
        'install',
        '--no-save',
        '--include=dev',
        '--no-fund',
        '--no-audit',
        '--loglevel=error',
      ]);
      writeFileSync(stamp, digest([lockText()]));
    },
  };
}

/** True when somebody ran npm already: npm's own record of node_modules agrees with the lock file. */
function installedAsLocked(root, lockText) {
  const record = read(join(root, 'node_modules', '.package-lock.json'));
  if (record === undefined) return false;
  const installed = JSON.parse(record).packages;
  return Object.entries(JSON.parse(lockText).packages).every(([path, { version, optional }]) => {
    const found = installed[path];
    return path === '' || (found === undefined ? optional === true : found.version === version);
  });
}

/** dist/ is src/ translated to JavaScript. */
function build(root) {
  const stamp = join(root, 'dist', '.stamp');
  const state = () => digest(filesUnder(root, ['src', 'tsconfig.json', 'tsconfig.build.json']));
  return {
    isCurrent: () => read(stamp) === state(),
    async run() {
      say('building dist/ (tsc)');
      const built = state();
      const fresh = join(root, `dist.${process.pid}`);
      const compiler = join(root, 'node_modules', 'typescript', 'lib', 'tsc.js');
      const options = ['--noCheck', '--declaration', 'false', '--outDir', fresh];
      try {
        await command(root, process.execPath, [compiler, '-p', 'tsconfig.build.json', ...options]);
        writeFileSync(join(fresh, '.stamp'), built);
        replace(join(root, 'dist'), fresh);
      } finally {
        rmSync(fresh, { recursive: true, force: true });
      }
    },
  };
}

/** The io_uring addon. Without cargo the daemon writes its log through node:fs. */
function addon(root) {
  const folder = join(root, 'native-aio');
  const stamp = join(folder, 'target', '.stamp');
  const sources = () => ['Cargo.toml', 'Cargo.lock', 'build.rs', 'build.mjs', 'src'];
  const state = () => digest(filesUnder(folder, sources()));
  return {
    isCurrent() {
      if (!existsSync(join(folder, 'build.mjs'))) return true;
      const [built, outcome] = (read(stamp) ?? '').split(' ');
      return built === state() && !(outcome === 'skipped' && hasCargo());
    },
    async run() {
      const built = state();
      let outcome = 'built';
      if (!hasCargo()) {
        outcome = 'skipped';
        say('no cargo here: the log is written through node:fs instead of io_uring');
      } else {
        say('building the io_uring addon (cargo)');
        try {
          await command(folder, process.execPath, ['build.mjs']);
        } catch (error) {
          outcome = 'failed';
          say(`${error.message}; the log is written through node:fs instead of io_uring`);
        }
      }
      mkdirSync(join(folder, 'target'), { recursive: true });
      writeFileSync(stamp, `${built} ${outcome}`);
    },
  };
}

function hasCargo() {
  // biome-ignore lint/style/noProcessEnv: where programs are looked for is known nowhere else
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, 'cargo')));
}

/** Swaps a folder for a new one, so that nobody ever sees half of it. */
function replace(folder, fresh) {
  const old = `${fresh}.old`;
  if (existsSync(folder)) renameSync(folder, old);
  renameSync(fresh, folder);
  rmSync(old, { recursive: true, force: true });
}

/** Runs a command with its output on stderr: stdout belongs to whoever called. */
function command(cwd, program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 2, 2] });
    child.on('error', (error) => reject(new Error(`cannot run ${program}: ${error.message}`)));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ${args.slice(0, 2).join(' ')} failed, see above`));
    });
  });
}

/**
 * Waits until no other process sets up this checkout. The lock is a listening abstract unix socket, which the
 * kernel removes with its process: it cannot be left behind. Other systems than Linux go without.
 */
async function lock(root) {
  if (process.platform !== 'linux') return () => {};
  const path = `\0dqlited-setup-${digest([root]).slice(0, 32)}`;
  for (;;) {
    const waiting = new Set();
    const server = createServer((socket) => waiting.add(socket.on('error', () => {})));
    server.unref();
    const taken = await new Promise((resolve, reject) => {
      server.on('error', (error) => (error.code === 'EADDRINUSE' ? resolve(true) : reject(error)));
      server.listen(path, () => resolve(false));
    });
    if (!taken) return () => release(server, waiting);
    await new Promise((resolve) => {
      // The holder never answers: the connection ends with it. A refused one means that it just ended.
      const holder = connect(path);
      holder.on('error', () => {});
      holder.on('close', resolve);
      holder.resume();
    });
  }
}

function release(server, waiting) {
  server.close();
  for (const socket of waiting) socket.destroy();
}

/** Paths and contents of files and folders below `root`, in a fixed order; absent ones are left out. */
function filesUnder(root, names) {
  const parts = [];
  for (const name of names) {
    const path = join(root, name);
    const kind = statSync(path, { throwIfNoEntry: false });
    if (kind?.isFile()) parts.push(name, readFileSync(path));
    else if (kind?.isDirectory()) parts.push(...filesUnder(path, readdirSync(path).sort()));
  }
  return parts;
}

function digest(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** A stamp that cannot be written costs time at the next start, nothing else. */
function tryToWrite(path, text) {
  try {
    writeFileSync(path, text);
  } catch {}
}

function say(message) {
  process.stderr.write(`dqlited: ${message}\n`);
}

if (realpathSync(process.argv[1] ?? '.') === fileURLToPath(import.meta.url)) await setUpOrExit();
