import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ClientError } from '../../src/client/errors.ts';
import { connect, type Database } from '../../src/client/index.ts';

/** What became of a load: the requests that failed for good, and the reads that saw more or less than was acknowledged. */
export interface LoadReport {
  readonly acknowledged: number;
  /** Writes that a C server of 1.11 refused while it handed over leadership, which the application repeated. */
  readonly repeated: number;
  readonly failed: readonly string[];
  readonly wrong: readonly string[];
}

/** A client that writes rows 1, 2, 3… one after the other into the table `load`, and reads them back. */
export interface Load {
  /** Ends it after the request that is under way. */
  stop(): Promise<LoadReport>;
  /** Ends it at once. */
  kill(): void;
}

const PAUSE_MS = 5;
const REQUEST_TIMEOUT_MS = 20_000;
const READ_EVERY = 10;
/** What a C server of 1.11 answers to a write while it hands over leadership: not executed. */
const HANDING_OVER = 7;

/** The load on go-dqlite; undefined where Go or the module cannot be had. Resolves when the first row is to come. */
export async function startGoLoad(
  database: string,
  addresses: readonly string[],
): Promise<Load | undefined> {
  const output = join(import.meta.dirname, '../interop/bin/go-load');
  mkdirSync(join(output, '..'), { recursive: true });
  try {
    execFileSync('go', ['build', '-tags', 'nosqlite3', '-o', output, '.'], {
      cwd: join(import.meta.dirname, 'go-load'),
      stdio: 'pipe',
    });
  } catch {
    return undefined;
  }
  const child = spawn(output, [database, addresses.join(',')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return {
    async stop() {
      child.stdin.end();
      const { value } = await lines.next();
      return JSON.parse(value) as LoadReport;
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

/** The load on this project's client. */
export async function startOwnLoad(database: string, servers: readonly string[]): Promise<Load> {
  const client = await connect({ servers, database, timeoutMs: REQUEST_TIMEOUT_MS });
  await client.exec('CREATE TABLE load (n INTEGER PRIMARY KEY, at TEXT)');
  const stopping = new AbortController();
  const running = run(client, stopping.signal);
  return {
    async stop() {
      stopping.abort();
      return running.finally(() => client.close());
    },
    kill() {
      stopping.abort();
      client.close();
    },
  };
}

async function run(client: Database, stopping: AbortSignal): Promise<LoadReport> {
  const [failed, wrong]: [string[], string[]] = [[], []];
  let [acknowledged, repeated] = [0, 0];
  const read = async () => {
    const row = await client.query('SELECT count(*) AS n FROM load').first();
    if (Number(row?.n) !== acknowledged) wrong.push(`${row?.n} rows, ${acknowledged} acknowledged`);
  };
  const attempt = (what: string, request: () => Promise<unknown>) =>
    request().catch((error: unknown) => void failed.push(`${what}: ${error}`));
  for (let n = 1; !stopping.aborted; n++) {
    await attempt(`row ${n}`, async () => {
      repeated += await write(client, n);
      acknowledged++;
    });
    if (n % READ_EVERY === 0) await attempt('read', read);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  await attempt('read', read);
  return { acknowledged, repeated, failed, wrong };
}

/**
 * This client leaves requests of unknown outcome to the application: here they may be repeated. Returns how often a
 * server of 1.11 refused it.
 */
async function write(client: Database, n: number): Promise<number> {
  const sql = 'INSERT INTO load (n, at) VALUES (?, ?) ON CONFLICT DO NOTHING';
  for (let refusals = 0; ; ) {
    try {
      await client.exec(sql, [n, String(n)]);
      return refusals;
    } catch (error) {
      const isClientError = error instanceof ClientError;
      const isUnknown = isClientError && ['leadershipLost', 'connection'].includes(error.code);
      const isRefusal = isClientError && error.wire === HANDING_OVER;
      if (isRefusal) refusals++;
      else if (!isUnknown) throw error;
    }
  }
}
