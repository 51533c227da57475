import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exitCode, explain } from './failure.ts';
import { createProgram } from './program.ts';
import { processTerminal, say, type Terminal } from './terminal.ts';

/** Runs one command line of this process and sets its exit code. */
export async function main(args: readonly string[]): Promise<void> {
  process.exitCode = await run(args, processTerminal());
}

/**
 * Runs one command line and returns its exit code. An expected failure is one line on stderr; a bug of ours is
 * thrown.
 */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = createProgram(terminal, packageVersion());
  if (args.length === 0) {
    program.outputHelp({ error: true });
    return exitCode.misused;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode.done;
  } catch (error) {
    const explained = explain(error);
    if (explained === undefined) throw error;
    if (explained.line !== undefined) say(terminal, `dqlited: ${explained.line}`);
    return explained.code;
  }
}

/** package.json is above src/ in a checkout and above dist/ in a package. */
function packageVersion(): string {
  for (const above of ['../..', '../../..']) {
    try {
      const text = readFileSync(join(import.meta.dirname, above, 'package.json'), 'utf8');
      return String(JSON.parse(text).version);
    } catch {}
  }
  return 'unknown';
}
