import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { Cluster } from '../client/cluster.ts';
import { signalOf } from '../client/deadline.ts';
import { dumpFiles } from '../client/dump.ts';
import { Failure } from './failure.ts';
import { type ServersOptions, withServers } from './shared-options.ts';
import { print, say, type Terminal } from './terminal.ts';

interface DumpOptions extends ServersOptions {
  readonly from?: string;
}

const TIMEOUT_MS = 600_000;
/** Bytes 18 and 19 of an image: 1 is rollback journal, 2 is write-ahead log. */
const VERSIONS_OFFSET = 18;

/** `dqlited dump DB [FILE]`: a plain SQLite file of what the leader has committed. */
export function addDumpCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('dump')
    .description('write a database to a plain SQLite file')
    .argument('<database>', 'name of the database')
    .argument('[file]', 'file to write, "-" for stdout (default: the name of the database)')
    .option('--from <ADDRESS>', 'read this server, whatever its role, instead of the leader')
    .addHelpText(
      'after',
      `
The file is in rollback-journal mode and opens in any SQLite. It is written whole or not at all.

Examples:
  dqlited dump app backup.db && sqlite3 backup.db "PRAGMA integrity_check"
  dqlited dump app - | gzip > app.db.gz`,
    );
  withServers(command, TIMEOUT_MS).action(
    async (database: string, file: string | undefined, options: DumpOptions) => {
      const signal = signalOf({ timeoutMs: options.timeout });
      const address = options.from ?? (await new Cluster(options.servers).leader(signal));
      const target = file ?? database;
      if (file === undefined && /[/\\\0]/.test(target)) {
        throw new UsageError(`name a file for the database "${database}"`);
      }
      const chunks = imageOf(address, database, signal);
      if (target === '-') {
        for await (const chunk of chunks) await print(terminal, chunk);
      } else say(terminal, `wrote ${await writeWhole(target, chunks)} bytes to ${target}`);
    },
  );
}

/** The image with its journal mode set to rollback, so that it needs no -wal beside it. */
async function* imageOf(
  address: string,
  database: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  for await (const { name, sizeBytes, chunks } of dumpFiles(address, database, signal)) {
    if (name.endsWith('-wal') && sizeBytes > 0) {
      throw new Failure(
        `${address} sends a write-ahead log, which this command does not fold in: use the dqlite shell`,
      );
    }
    let offset = 0;
    for await (const chunk of chunks) {
      yield offset <= VERSIONS_OFFSET + 1 ? withoutLog(chunk, offset) : chunk;
      offset += chunk.length;
    }
  }
}

function withoutLog(chunk: Buffer, offset: number): Buffer {
  const copy = Buffer.from(chunk);
  for (const at of [VERSIONS_OFFSET - offset, VERSIONS_OFFSET + 1 - offset]) {
    if (at >= 0 && at < copy.length) copy[at] = 1;
  }
  return copy;
}

/** Writes beside the target, then renames; returns the size. */
async function writeWhole(path: string, chunks: AsyncIterable<Buffer>): Promise<number> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const stream = createWriteStream(temporary, { flags: 'wx', mode: 0o600, flush: true });
    await pipeline(chunks, stream);
    await rename(temporary, path);
    return stream.bytesWritten;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
