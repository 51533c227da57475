import { createServer } from 'node:net';
import type { Test } from 'tap';
import { daemonCommand } from '../support/daemon.ts';
import { type ServerProcess, startServer } from '../support/server-process.ts';

/** `dqlited start` with these flags and no others, once its port is free. */
export async function startOn(
  t: Test,
  port: number,
  flags: readonly string[],
): Promise<ServerProcess> {
  while (!(await isFree(port))) await new Promise((resolve) => setTimeout(resolve, 100));
  const { command } = daemonCommand({ directory: '', port });
  const daemon = await startServer({ command, args: ['start', ...flags], port, ready: 'ready' });
  t.teardown(() => daemon.kill());
  return daemon;
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
