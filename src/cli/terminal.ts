import { once } from 'node:events';
import process from 'node:process';

/** Where a command reads and writes: data to `out`, talk to `err`. Tests pass their own. */
export interface Terminal {
  readonly in: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly out: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly err: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The terminal of this process. A reader that went away (`| head`) ends it without a word. */
export function processTerminal(): Terminal {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  return {
    in: process.stdin,
    out: process.stdout,
    err: process.stderr,
    // biome-ignore lint/style/noProcessEnv: the one place where the CLI reads the environment
    environment: process.env,
  };
}

/** Writes data, waiting while the reader is slower. */
export async function print(terminal: Terminal, text: string | Uint8Array): Promise<void> {
  if (!terminal.out.write(text)) await once(terminal.out, 'drain');
}

/** Says something to the person: progress, counts, hints. */
export function say(terminal: Terminal, line: string): void {
  terminal.err.write(`${line}\n`);
}

/** Dim text for what is not data, where colours are wanted (https://no-color.org). */
export function dim(terminal: Terminal, text: string): string {
  const { NO_COLOR, TERM } = terminal.environment;
  const plain = terminal.out.isTTY !== true || Boolean(NO_COLOR) || TERM === 'dumb';
  return plain ? text : `\u001b[2m${text}\u001b[22m`;
}
