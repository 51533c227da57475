import { join } from 'node:path';
import { cNodeCommand, cNodeMissing } from '../test/interop/c-node.ts';
import { daemonCommand } from '../test/support/daemon.ts';
import type { ServerCommand } from '../test/support/server-process.ts';

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

/** Our daemon. With `profileDirectory`, each thread of each server leaves a profile there when it ends. */
export function ourKind(profileDirectory?: string): Kind {
  return {
    name: 'dqlited',
    isOurs: true,
    commandOf({ first, ...place }) {
      const flags = first === undefined ? [] : ['--join', first];
      const command = daemonCommand({ ...place, flags });
      if (profileDirectory === undefined) return command;
      const profile = ['--cpu-prof', `--cpu-prof-dir=${join(profileDirectory, String(place.id))}`];
      return {
        ...command,
        command: process.execPath,
        args: [...profile, command.command, ...command.args],
      };
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
  return {
    name: folder === undefined ? 'C (system)' : `C (${folder})`,
    isOurs: false,
    commandOf({ first: _, ...place }) {
      const command = cNodeCommand(place);
      return folder === undefined
        ? command
        : { ...command, environment: { LD_LIBRARY_PATH: folder } };
    },
  };
}
