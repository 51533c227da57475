import type { Command } from 'commander';
import { Option } from 'commander';
import { signalOf } from '../client/deadline.ts';
import { type RowFormat, rowFormats, rowPrinter } from './row-printers.ts';
import { type ServersOptions, withServers } from './shared-options.ts';
import { runShell } from './shell.ts';
import { SqlRunner } from './sql-runner.ts';
import { splitStatements } from './sql-text.ts';
import { say, type Terminal } from './terminal.ts';

interface SqlOptions extends ServersOptions {
  readonly format: RowFormat;
}

const TIMEOUT_MS = 60_000;

/** `dqlited sql DB [STATEMENT]`: one-shot, a script on stdin, or the interactive shell. */
export function addSqlCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('sql')
    .description('run SQL: one statement or more, a script on stdin, or an interactive shell')
    .argument('<database>', 'name of the database; the first write creates it')
    .argument('[statement]', 'SQL to run; without it statements are read from stdin')
    .addOption(
      new Option('--format <FORMAT>', 'how rows are printed').choices(rowFormats).default('table'),
    )
    .addHelpText(
      'after',
      `
Examples:
  dqlited sql app "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"
  dqlited sql app "SELECT * FROM notes" --format json
  dqlited sql -s 10.0.0.1:9001,10.0.0.2:9001 app < schema.sql
  dqlited sql app`,
    );
  withServers(command, TIMEOUT_MS).action(
    async (database: string, statement: string | undefined, options: SqlOptions) => {
      const runner = new SqlRunner(options.servers, database);
      try {
        if (statement === undefined && terminal.in.isTTY === true) {
          await runShell(runner, { database, ...options }, terminal);
        } else {
          await runScript(runner, statement ?? (await textOf(terminal.in)), options, terminal);
        }
      } finally {
        runner.close();
      }
    },
  );
}

/** Runs all statements of a text; the first failure ends it. */
async function runScript(
  runner: SqlRunner,
  sql: string,
  options: SqlOptions,
  terminal: Terminal,
): Promise<void> {
  const { statements, rest } = splitStatements(sql);
  for (const statement of rest === '' ? statements : [...statements, rest]) {
    const signal = signalOf({ timeoutMs: options.timeout });
    await runner.run(statement, rowPrinter(options.format, terminal), signal);
  }
  if (runner.inTransaction) say(terminal, 'the open transaction is rolled back: COMMIT is missing');
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
