import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cLibraryVersion, cNodeCommand, cNodeMissing } from '../test/interop/c-node.ts';
import { daemonCommand } from '../test/support/daemon.ts';
import type { ServerCommand } from '../test/support/server-process.ts';

const C_LIBRARY = 'libdqlite.so.0';

/** Where a server of a cluster is to run. */
export interface Place {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly directory: string;
  /** The server that starts the cluster; undefined for that one itself. */
  readonly first: string | undefined;
}

/** A program that clusters are made of. Its servers run with their defaults. */
export interface Kind {
  readonly name: string;
  readonly isOurs: boolean;
  readonly commandOf: (place: Place) => ServerCommand;
}

/** What may differ from our daemon as it is. */
export interface OurOptions {
  /** Each thread of each server leaves a profile below this directory when it ends. */
  readonly profile?: string | undefined;
  /** Another checkout to run, instead of this one. */
  readonly checkout?: string | undefined;
}

/** Our daemon. */
export function ourKind({ profile, checkout }: OurOptions): Kind {
  return {
    name: 'dqlited',
    isOurs: true,
    commandOf({ first, ...place }) {
      const flags = first === undefined ? [] : ['--join', first];
      const command = daemonCommand({ ...place, flags });
      const program = checkout === undefined ? command.command : join(checkout, 'bin/dqlited');
      if (profile === undefined) return { ...command, command: program };
      const profiling = ['--cpu-prof', `--cpu-prof-dir=${join(profile, String(place.id))}`];
      const args = [...profiling, program, ...command.args];
      return { ...command, command: process.execPath, args };
    },
  };
}

/**
 * The C library: the one of the system, or the shared library in `folder`. Its servers dial each other without
 * Nagle's delay, as Go applications do (test/interop/c-node).
 */
export function cKind(folder?: string): Kind {
  const missing = cNodeMissing();
  if (missing !== undefined) throw new Error(missing);
  if (folder !== undefined && !existsSync(join(folder, C_LIBRARY))) {
    throw new Error(`there is no ${C_LIBRARY} in ${folder}`);
  }
  return {
    name: `C ${cLibraryVersion(folder)}`,
    isOurs: false,
    commandOf({ first: _, ...place }) {
      const command = cNodeCommand(place);
      return folder === undefined
        ? command
        : { ...command, environment: { LD_LIBRARY_PATH: folder } };
    },
  };
}
