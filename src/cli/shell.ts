import { readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { signalOf } from '../client/deadline.ts';
import { explain } from './failure.ts';
import { type RowFormat, rowFormats, rowPrinter } from './row-printers.ts';
import { shellCommands } from './shell-commands.ts';
import type { SqlRunner } from './sql-runner.ts';
import { splitStatements } from './sql-text.ts';
import { dim, say, type Terminal } from './terminal.ts';

/** What the shell is started with. `timeout` is for each statement, in milliseconds. */
export interface ShellOptions {
  readonly database: string;
  readonly servers: readonly string[];
  readonly format: RowFormat;
  readonly timeout: number;
}

const HISTORY_LINES = 1000;

/** The interactive shell: ends at `.quit` or the end of the input. */
export async function runShell(
  runner: SqlRunner,
  options: ShellOptions,
  terminal: Terminal,
): Promise<void> {
  await runner.connect(signalOf({ timeoutMs: options.timeout }));
  say(terminal, `connected to ${runner.leader}; .help shows the commands`);
  await new Shell(runner, options, terminal).run();
}

class Shell {
  readonly #runner: SqlRunner;
  readonly #options: ShellOptions;
  readonly #terminal: Terminal;
  readonly #lines: Interface;
  #format: RowFormat;
  /** Lines of a statement whose semicolon has not come yet. */
  #pending = '';
  #running: AbortController | undefined;

  constructor(runner: SqlRunner, options: ShellOptions, terminal: Terminal) {
    this.#runner = runner;
    this.#options = options;
    this.#terminal = terminal;
    this.#format = options.format;
    this.#lines = createInterface({
      input: terminal.in,
      output: terminal.out,
      terminal: terminal.in.isTTY === true,
      history: readHistory(terminal),
      historySize: HISTORY_LINES,
      removeHistoryDuplicates: true,
    });
    this.#lines.on('history', (lines) => writeHistory(terminal, lines));
    this.#lines.on('SIGINT', () => this.#interrupt());
  }

  async run(): Promise<void> {
    this.#prompt();
    for await (const line of this.#lines) {
      if (await this.#take(line)) break;
      this.#prompt();
    }
    this.#lines.close();
    if (this.#runner.inTransaction) say(this.#terminal, 'the open transaction is rolled back');
  }

  /** `app> `, `app*> ` in a transaction, `...> ` inside a statement. */
  #prompt(): void {
    const { database } = this.#options;
    const start = this.#runner.inTransaction ? `${database}*> ` : `${database}> `;
    this.#lines.setPrompt(this.#pending === '' ? start : '...> '.padStart(start.length));
    this.#lines.prompt();
  }

  /** Handles one line; true when the shell is to end. */
  async #take(line: string): Promise<boolean> {
    if (this.#pending === '' && line.trim().startsWith('.')) return this.#command(line.trim());
    const { statements, rest } = splitStatements(`${this.#pending}${line}\n`);
    this.#pending = rest === '' ? '' : `${rest}\n`;
    for (const statement of statements) {
      if (!(await this.#attempt(statement))) {
        this.#pending = '';
        break;
      }
    }
    return false;
  }

  async #command(line: string): Promise<boolean> {
    const [name = '', ...args] = line.split(/\s+/);
    if (name === '.quit' || name === '.exit') return true;
    if (name === '.format') this.#setFormat(args[0]);
    else if (Object.hasOwn(shellCommands, name)) {
      const command = shellCommands[name];
      await this.#guard(async (signal) => {
        await command?.run({
          ...this.#options,
          runner: this.#runner,
          args,
          signal,
          terminal: this.#terminal,
        });
      });
    } else say(this.#terminal, `no command ${name}: .help lists them`);
    return false;
  }

  #setFormat(format: string | undefined): void {
    const known = rowFormats.find((candidate) => candidate === format);
    if (known === undefined) say(this.#terminal, `.format ${rowFormats.join('|')}`);
    else this.#format = known;
  }

  #attempt(statement: string): Promise<boolean> {
    return this.#guard(async (signal) => {
      const printer = rowPrinter(this.#format, this.#terminal);
      const { rows, rowsAffected } = await this.#runner.run(statement, printer, signal);
      const told = rowsAffected === undefined ? counted(rows, 'row') : undefined;
      if (told !== undefined && this.#format === 'table') {
        say(this.#terminal, dim(this.#terminal, `(${told})`));
      }
    });
  }

  /** Runs something that Ctrl-C and the deadline may end; failures are told, not thrown. */
  async #guard(work: (signal: AbortSignal | undefined) => Promise<void>): Promise<boolean> {
    const running = new AbortController();
    this.#running = running;
    try {
      await work(signalOf({ timeoutMs: this.#options.timeout, signal: running.signal }));
      return true;
    } catch (error) {
      const explained = explain(error);
      if (explained === undefined) throw error;
      say(this.#terminal, running.signal.aborted ? 'interrupted' : `error: ${explained.line}`);
      return false;
    } finally {
      this.#running = undefined;
    }
  }

  /** Ctrl-C: ends the running statement, else drops the line, else says how to leave. */
  #interrupt(): void {
    if (this.#running !== undefined) {
      this.#running.abort();
      return;
    }
    const isEmpty = this.#pending === '' && this.#lines.line === '';
    this.#pending = '';
    this.#terminal.out.write('\n');
    if (isEmpty) say(this.#terminal, '.quit ends the shell');
    // Ctrl-E Ctrl-U: readline has no call that empties the line.
    this.#lines.write(null, { ctrl: true, name: 'e' });
    this.#lines.write(null, { ctrl: true, name: 'u' });
    this.#prompt();
  }
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function historyPath({ environment }: Terminal): string {
  return join(environment.HOME ?? homedir(), '.dqlited_history');
}

/** Newest first, as readline wants it. */
function readHistory(terminal: Terminal): string[] {
  try {
    return readFileSync(historyPath(terminal), 'utf8').split('\n').filter(Boolean).reverse();
  } catch {
    return [];
  }
}

function writeHistory(terminal: Terminal, lines: readonly string[]): void {
  try {
    writeFileSync(historyPath(terminal), `${[...lines].reverse().join('\n')}\n`, { mode: 0o600 });
  } catch {
    // A home that cannot be written has no history.
  }
}
