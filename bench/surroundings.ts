import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerCommand } from '../test/support/server-process.ts';
import type { Conditions } from './cells.ts';
import { DelayedNetwork } from './delayed-network.ts';
import { SlowDisks } from './slow-disks.ts';

/** Where three servers live: their disks and their network. */
export interface Surroundings {
  /** A fresh directory for server 1, 2 or 3. */
  newDirectory(id: number): Promise<string>;
  /** The address of a server without its port. */
  hostOf(id: number): string;
  /** How a command is run where a server lives. */
  inside(id: number, command: ServerCommand): ServerCommand;
  close(): Promise<void>;
}

/** Surroundings below the directory `parent`, as the conditions ask; needs root unless all delays are 0. */
export async function surroundingsFor(
  conditions: Conditions,
  parent: string,
): Promise<Surroundings> {
  const base = await mkdtemp(join(parent, 'dqlited-bench-'));
  const network = conditions.networkDelayMs > 0 ? new DelayedNetwork(conditions) : undefined;
  const disks = conditions.syncDelayMs > 0 ? new SlowDisks(base, conditions) : undefined;
  await disks?.mount();
  await network?.connect();
  return {
    async newDirectory(id) {
      const directory = join(disks?.directoryOf(id) ?? join(base, String(id)), 'data');
      await rm(directory, { recursive: true, force: true });
      await mkdir(directory, { recursive: true });
      return directory;
    },
    hostOf: (id) => network?.hostOf(id) ?? '127.0.0.1',
    inside: (id, command) => network?.inside(id, command) ?? command,
    async close() {
      network?.disconnect();
      disks?.unmount();
      await rm(base, { recursive: true, force: true });
    },
  };
}
