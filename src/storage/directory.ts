import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Server } from '../protocol/log.ts';
import {
  type Identity,
  isJoining,
  markJoining,
  readCluster,
  readIdentity,
  writeCluster,
  writeIdentity,
} from './app-files.ts';
import { type DirectoryLock, lockDirectory } from './directory-lock.ts';

/** The directory of one server, locked for this process. */
export class DataDirectory {
  readonly path: string;
  readonly #lock: DirectoryLock;

  private constructor(path: string, lock: DirectoryLock) {
    this.path = path;
    this.#lock = lock;
  }

  /** Creates the directory where needed. @throws UsageError when another process uses it */
  static async open(path: string): Promise<DataDirectory> {
    const absolute = resolve(path);
    await mkdir(absolute, { recursive: true, mode: 0o700 });
    return new DataDirectory(absolute, await lockDirectory(absolute));
  }

  /** Who this server is, if it was ever told. @throws UsageError when the file cannot be understood */
  identity(): Promise<Identity | undefined> {
    return readIdentity(this.path);
  }

  writeIdentity(identity: Identity): Promise<void> {
    return writeIdentity(this.path, identity);
  }

  /** The members last heard of: whom to ask when joining again. */
  cluster(): Promise<readonly Server[] | undefined> {
    return readCluster(this.path);
  }

  writeCluster(servers: readonly Server[]): Promise<void> {
    return writeCluster(this.path, servers);
  }

  /** Whether this server waits to be added to a cluster. */
  joining(): Promise<boolean> {
    return isJoining(this.path);
  }

  markJoining(joining: boolean): Promise<void> {
    return markJoining(this.path, joining);
  }

  /** Lets another process use it. */
  close(): Promise<void> {
    return this.#lock.release();
  }
}
