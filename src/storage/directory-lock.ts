import { constants } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { UsageError } from '../base/errors.ts';

/** The file on which C dqlite takes its flock. */
const lockFileName = 'dqlite-lock';

/** Held by the one process that may use a data directory. */
export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * Makes this process the only one that uses a directory, until it ends in whatever way.
 *
 * Node has no flock, and a file with a process id in it outlives a crash. So the lock is an abstract Unix socket
 * whose name is made of the directory's device and inode: the kernel hands the name out once and takes it
 * back with the process. Against C dqlite, which holds a flock on dqlite-lock, the kernel's list of locks is asked.
 * Neither sees a process in another container that mounts the same directory.
 *
 * @throws UsageError when another process uses the directory.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const file = await open(
    join(directory, lockFileName),
    constants.O_CREAT | constants.O_RDWR,
    0o600,
  );
  await file.close();
  const server = await listen(directory);
  if (server === undefined) throw inUse(directory, 'another dqlited');
  const holder = await flockHolder(directory);
  if (holder !== undefined) {
    await stop(server);
    throw inUse(directory, `process ${holder}`);
  }
  return { release: () => stop(server) };
}

/** Who uses a directory, as text; undefined when it is free. Leaves no trace in it. */
export async function directoryUser(directory: string): Promise<string | undefined> {
  const server = await listen(directory);
  if (server === undefined) return 'another dqlited';
  await stop(server);
  const holder = await flockHolder(directory);
  return holder === undefined ? undefined : `process ${holder}`;
}

function inUse(directory: string, user: string): UsageError {
  return new UsageError(
    `the data directory ${directory} is in use by ${user}: stop it, or give this server a directory of its own`,
  );
}

/** Undefined when the name is taken. */
async function listen(directory: string): Promise<Server | undefined> {
  const { dev, ino } = await stat(directory, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(`\0dqlited-${dev}-${ino}`, () => {
      server.unref();
      resolve(server);
    });
  });
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** The process that holds a flock on the lock file, from lines like "1: FLOCK ADVISORY WRITE 71 fe:00:13 0 EOF". */
async function flockHolder(directory: string): Promise<string | undefined> {
  const file = await stat(join(directory, lockFileName), { bigint: true }).catch(() => undefined);
  const locks = await readFile('/proc/locks', 'latin1').catch(() => '');
  if (file === undefined) return undefined;
  const wanted = `${deviceText(file.dev)}:${file.ino}`;
  for (const line of locks.split('\n')) {
    const [, kind, , , process, place] = line.split(/\s+/);
    if (kind === 'FLOCK' && place === wanted) return process;
  }
  return undefined;
}

/** Major and minor number of a device as the kernel prints them. */
function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`;
}
