import { Command } from 'commander';
import { addCheckCommands } from './check-disk.ts';
import { addClusterCommands } from './cluster.ts';
import { addDoctorCommand } from './doctor.ts';
import { addDumpCommand } from './dump.ts';
import { addRecoverCommand } from './recover.ts';
import { addSqlCommand } from './sql.ts';
import { addStartCommand } from './start.ts';
import { addStatusCommand } from './status.ts';
import type { Terminal } from './terminal.ts';

/** The whole command line; no logic of its own. Commander's errors are thrown, its texts go to the terminal. */
export function createProgram(terminal: Terminal, version: string): Command {
  const program = new Command('dqlited')
    .description(
      'Highly available SQLite as a service: a cluster daemon that speaks the dqlite wire protocol.',
    )
    .version(version, '-V, --version', 'print the version')
    .configureOutput({
      writeOut: (text) => terminal.out.write(text),
      writeErr: (text) => terminal.err.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'dqlited: ')),
    })
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride()
    .addHelpText(
      'after',
      `
Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 misused.

Examples:
  dqlited start
  dqlited sql app "SELECT 1"
  dqlited cluster list --json`,
    );
  addStartCommand(program, terminal, version);
  addSqlCommand(program, terminal);
  addDumpCommand(program, terminal);
  addClusterCommands(program, terminal);
  addStatusCommand(program, terminal);
  addDoctorCommand(program, terminal);
  addCheckCommands(program, terminal);
  addRecoverCommand(program, terminal);
  return program;
}
