import { type Command, InvalidArgumentError, Option } from 'commander';
import type { SettingKind } from '../server/setting-kinds.ts';
import { addresses, integer, unsigned64 } from '../server/setting-kinds.ts';

/** Options of the commands that talk to a cluster. */
export interface ServersOptions {
  readonly servers: readonly string[];
  readonly timeout: number;
}

const defaultServers = ['127.0.0.1:9001'];

/** Adds `--servers` and `--timeout`. */
export function withServers(command: Command, timeoutMs: number): Command {
  return withTimeout(
    command.addOption(
      new Option('-s, --servers <ADDRESS[,ADDRESS…]>', 'some servers of the cluster')
        .env('DQLITED_SERVERS')
        .default(defaultServers, defaultServers.join(','))
        .argParser(parserOf(addresses)),
    ),
    timeoutMs,
  );
}

/** Adds `--timeout`: every command ends some day. */
export function withTimeout(command: Command, timeoutMs: number): Command {
  return command.addOption(
    new Option('--timeout <MS>', 'give up after this many milliseconds')
      .default(timeoutMs)
      .argParser(parserOf(integer('MS', 1, 24 * 3_600_000))),
  );
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON; integers keep all their digits');
}

/** A commander parser for a kind of setting. */
export function parserOf<T>(kind: SettingKind<T>): (text: string) => T {
  return (text) => {
    const reading = kind.read(text);
    if ('value' in reading) return reading.value;
    throw new InvalidArgumentError(`It must be ${reading.expected}.`);
  };
}

/** Parses the id of a server. */
export const parseServerId = parserOf(unsigned64(1n));
