import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from '../../src/client/database.ts';
import { outside } from '../support/outside.ts';
import { Acknowledgements } from './acknowledgements.ts';

const source = join(import.meta.dirname, 'go-writer');
const binary = join(import.meta.dirname, '../interop/bin/go-writer');

/** Why there is no load from go-dqlite here, as a command that a reader can run; undefined when there is one. */
export function goLoadMissing(): string | undefined {
  mkdirSync(join(binary, '..'), { recursive: true });
  const args = ['build', '-tags', 'nosqlite3', '-o', binary, '.'];
  try {
    execFileSync('go', args, { cwd: source, stdio: 'pipe' });
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : '';
    return `no Go, or no way to its modules (go ${args.join(' ')} in ${source}): ${reason}`;
  }
}

/**
 * Load from go-dqlite, as an application has it: database/sql over the driver, which repeats by itself what its server
 * refused and what a broken connection left in doubt. Each row has a key of its own, so that this doubles none.
 */
export class GoLoad extends Acknowledgements {
  readonly #servers: readonly string[];
  readonly #table: string;
  readonly #child: ChildProcess;
  readonly #ready: Promise<void>;
  readonly #ended: Promise<unknown>;

  /** Resolves when the table is there and the writers write, each with `pauseMs` between two rows. */
  static async start(
    servers: readonly string[],
    { clients = 4, table = 'load', pauseMs = 0 } = {},
  ): Promise<GoLoad> {
    const args = ['app', table, String(clients), String(pauseMs), servers.join(',')];
    const child = spawn(...outside(binary, args), { stdio: ['pipe', 'pipe', 'inherit'] });
    const load = new GoLoad(servers, table, child);
    await load.#ready;
    return load;
  }

  private constructor(servers: readonly string[], table: string, child: ChildProcess) {
    super();
    this.#servers = servers;
    this.#table = table;
    this.#child = child;
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.off('exit', kill));
    let ready = (): void => {};
    this.#ready = new Promise((resolve) => {
      ready = resolve;
    });
    if (child.stdout === null) throw new Error('stdout is a pipe');
    const lines = createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'ready') ready();
      else this.#note(line);
    });
    this.#ended = Promise.all([once(child, 'exit'), once(lines, 'close')]);
  }

  /** Ends after the writes under way. */
  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await this.#ended;
  }

  /** See `compare`; the rows are read through the leader. */
  async check(): Promise<ReturnType<Acknowledgements['compare']>> {
    const database = await connect({ servers: this.#servers, database: 'app' });
    const rows = await database.query(`SELECT value FROM ${this.#table}`).all();
    database.close();
    return this.compare(rows.map(({ value }) => Number(value)));
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #note(line: string): void {
    const [what, value, ...rest] = line.split(' ');
    if (what !== 'ok') {
      this.failed.push({ value: Number(value), error: new Error(rest.join(' ')) });
      return;
    }
    const [begunAt = 0, endedAt = 0] = rest.map((ms) => Number(ms) - performance.timeOrigin);
    this.acknowledged.push({ value: Number(value), begunAt, endedAt });
  }
}
