import { type Command, Option } from 'commander';
import { loadConfig } from '../server/config.ts';
import {
  fileKeyOf,
  flagOf,
  type SettingName,
  settingGroups,
  settingNames,
  settingOf,
  variableOf,
} from '../server/options.ts';
import { defaultOf } from '../server/options-docs.ts';
import { print, type Terminal } from './terminal.ts';

/** `dqlited start`: its options are the rows of the settings table. */
export function addStartCommand(program: Command, terminal: Terminal, version: string): void {
  const command = program
    .command('start')
    .description('run a server; prints "ready ADDRESS" when it serves')
    .addHelpText(
      'after',
      `
Every setting may also be given as a variable (DQLITED_DATA_DIR=…) or in the file of --config
(data-dir: …). Flags win over variables, variables over the file.

Examples:
  dqlited start
  dqlited start --address 10.0.0.1:9001 --data-dir /var/lib/dqlited
  dqlited start --address 10.0.0.2:9001 --data-dir /var/lib/dqlited --join 10.0.0.1:9001`,
    );
  for (const name of settingNames) command.addOption(optionOf(name));
  command.action(async () => {
    const given = settingNames.filter(
      (name) => command.getOptionValueSource(attributeOf(name)) === 'cli',
    );
    const flags = Object.fromEntries(
      given.map((name) => [name, String(command.getOptionValue(attributeOf(name)))]),
    );
    const config = loadConfig(flags, terminal.environment);
    // Loaded late: the other commands need neither SQLite nor Raft.
    const { runDaemon } = await import('../server/run-daemon.ts');
    await runDaemon(config, {
      environment: terminal.environment,
      version,
      onReady: (address) => void print(terminal, `ready ${address}\n`),
    });
  });
}

function optionOf(name: SettingName): Option {
  const { doc, group, kind } = settingOf(name);
  const words = kind.placeholder === '' ? '' : ` (${defaultOf(name).replaceAll('`', '')})`;
  const option = new Option(flagOf(name), `${doc}${words} [${variableOf(name)}]`);
  return option.helpGroup(`${settingGroups[group]}:`);
}

/** Commander stores `--data-dir` as `dataDir`, and `--no-x` as `x`. */
function attributeOf(name: SettingName): string {
  return new Option(`--${fileKeyOf(name)}`).attributeName();
}
