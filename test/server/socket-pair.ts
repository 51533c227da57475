import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { seededRandom } from '../../src/base/random.ts';

/** A connection: the client's socket, and what was accepted, paused as the listener has it. */
export async function pair(
  t: Test,
  options: { readonly allowHalfOpen?: boolean } = {},
): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer({ pauseOnConnect: true, noDelay: true });
  const accepting = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect({
    ...options,
    port: (server.address() as { port: number }).port,
    host: '127.0.0.1',
  });
  const accepted = await accepting;
  t.teardown(() => {
    client.destroy();
    server.close();
  });
  return { client, accepted };
}

/** Bytes that are the same each time. */
export function noise(bytes: number): Buffer {
  const random = seededRandom(7);
  return Buffer.from(Array.from({ length: bytes }, () => random.int(0, 255)));
}

/** Lets the event loop turn until it is so. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
