import { Cluster } from '../client/cluster.ts';
import { memberTable } from './cluster-output.ts';
import type { RowPrinter } from './row-printers.ts';
import type { SqlRunner } from './sql-runner.ts';
import { print, type Terminal } from './terminal.ts';

interface Call {
  readonly runner: SqlRunner;
  readonly servers: readonly string[];
  readonly args: readonly string[];
  readonly terminal: Terminal;
  readonly signal: AbortSignal | undefined;
}

interface ShellCommand {
  readonly usage: string;
  readonly doc: string;
  run(call: Call): Promise<void>;
}

/** The commands that start with a point, besides `.format` and `.quit`. */
export const shellCommands: Readonly<Record<string, ShellCommand>> = {
  '.tables': {
    usage: '.tables',
    doc: 'tables and views',
    run: ({ runner, terminal, signal }) =>
      list(
        runner,
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        terminal,
        signal,
      ),
  },
  '.schema': {
    usage: '.schema [NAME]',
    doc: 'CREATE statements of everything, or of one table, index, view or trigger',
    run: ({ runner, args, terminal, signal }) => {
      const name = args[0]?.replaceAll("'", "''");
      const filter = name === undefined ? '' : ` AND (name = '${name}' OR tbl_name = '${name}')`;
      return list(
        runner,
        `SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL${filter} ORDER BY rowid`,
        terminal,
        signal,
      );
    },
  },
  '.leader': {
    usage: '.leader',
    doc: 'address of the leader',
    run: async ({ servers, terminal, signal }) => {
      await print(terminal, `${await new Cluster(servers).leader(signal)}\n`);
    },
  },
  '.cluster': {
    usage: '.cluster',
    doc: 'the servers',
    run: async ({ servers, terminal, signal }) => {
      const { leader, members } = await new Cluster(servers).members(signal);
      await print(terminal, memberTable(leader, members));
    },
  },
  '.help': {
    usage: '.help',
    doc: 'this text',
    run: async ({ terminal }) => {
      const commands = [
        ...Object.values(shellCommands),
        { usage: '.format table|json|csv', doc: 'how rows are printed' },
        { usage: '.quit', doc: 'end (or Ctrl-D)' },
      ];
      const lines = commands.map(({ usage, doc }) => `  ${usage.padEnd(24)}${doc}\n`);
      const text =
        'A statement ends with a semicolon and may take several lines. Ctrl-C interrupts it.\n';
      await print(terminal, text + lines.join(''));
    },
  },
};

/** Prints the only column of a query, a line each. */
async function list(
  runner: SqlRunner,
  sql: string,
  terminal: Terminal,
  signal: AbortSignal | undefined,
): Promise<void> {
  const plain: RowPrinter = {
    begin: async () => {},
    row: async ([value]) => {
      if (value?.type === 'text') await print(terminal, `${value.value}\n`);
    },
    end: async () => {},
  };
  await runner.run(sql, plain, signal);
}
