import { connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { SocketWriter } from '../../src/server/direct-writes.ts';
import { readForOthers, readStatically } from '../../src/server/static-reads.ts';

/** A connection: the client's socket, and what was accepted, paused as the listener has it. */
async function pair(t: Test): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer({ pauseOnConnect: true, noDelay: true });
  const accepting = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1' });
  const accepted = await accepting;
  t.teardown(() => {
    client.destroy();
    server.close();
  });
  return { client, accepted };
}

function noise(bytes: number): Buffer {
  const random = seededRandom(7);
  return Buffer.from(Array.from({ length: bytes }, () => random.int(0, 255)));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

t.test(
  'everything that arrives is handed over, in pieces that are never overwritten',
  async (t) => {
    const { client, accepted } = await pair(t);
    const pieces: Buffer[] = [];
    let length = 0;
    const socket = readStatically(accepted, (bytes) => {
      pieces.push(bytes);
      length += bytes.length;
    });
    t.teardown(() => socket.destroy());
    const sent = noise(1_000_000);
    for (let at = 0; at < sent.length; at += 9973) client.write(sent.subarray(at, at + 9973));
    await until(() => length === sent.length);
    t.ok(Buffer.concat(pieces).equals(sent));
  },
);

t.test('a paused socket is not read, and goes on where it was', async (t) => {
  const { client, accepted } = await pair(t);
  let received = '';
  const socket = readStatically(accepted, (bytes) => {
    received += bytes.toString();
    if (received === 'one') socket.pause();
  });
  t.teardown(() => socket.destroy());
  client.write('one');
  await until(() => received === 'one');
  client.write('two');
  await new Promise((resolve) => client.write('', resolve));
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(received, 'one');
  socket.resume();
  await until(() => received === 'onetwo');
});

t.test('the end of the other side closes the socket', async (t) => {
  const { client, accepted } = await pair(t);
  const socket = readStatically(accepted, () => {});
  client.end();
  await new Promise((resolve) => socket.once('close', resolve));
});

t.test('a connection changes its owner; the first owner hears it close', async (t) => {
  const { client, accepted } = await pair(t);
  let first = '';
  const socket = readStatically(accepted, (bytes) => {
    first += bytes.toString();
  });
  client.write('for the first');
  await until(() => first === 'for the first');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const other = readForOthers(socket);
  t.teardown(() => other.destroy());
  await closed;
  client.write('for the second');
  let second = '';
  other.on('data', (bytes: Buffer) => {
    second += bytes.toString();
  });
  await until(() => second === 'for the second');
  t.equal(first, 'for the first');
});

t.test(
  'what the kernel does not take at once is counted until it does, and arrives in order',
  async (t) => {
    const { client, accepted } = await pair(t);
    const socket = readStatically(accepted, () => {});
    t.teardown(() => socket.destroy());
    let drained = 0;
    const writer = new SocketWriter(socket, () => drained++);
    client.pause();
    const sent = noise(8_000_000);
    for (let at = 0; at < sent.length; at += 100_000) writer.write(sent.subarray(at, at + 100_000));
    t.ok(writer.bufferedBytes > 0);
    t.equal(drained, 0);
    const pieces: Buffer[] = [];
    let length = 0;
    client.on('data', (bytes: Buffer) => {
      pieces.push(bytes);
      length += bytes.length;
    });
    client.resume();
    await until(() => length === sent.length);
    await until(() => writer.bufferedBytes === 0);
    t.equal(drained, 1);
    t.ok(Buffer.concat(pieces).equals(sent));
  },
);

t.test('writing to a client that has gone closes the socket, and throws nothing', async (t) => {
  const { client, accepted } = await pair(t);
  const socket = readStatically(accepted, () => {});
  socket.on('error', () => {});
  const writer = new SocketWriter(socket, () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  client.resetAndDestroy();
  await closed;
  writer.write(Buffer.from('nobody reads this'));
  t.equal(socket.destroyed, true);
});

t.test('bytes that were taken at once may be written over, and no others', async (t) => {
  const { client, accepted } = await pair(t);
  client.pause();
  const socket = readStatically(accepted, () => {});
  t.teardown(() => socket.destroy());
  let isDrained = false;
  const writer = new SocketWriter(socket, () => {
    isDrained = true;
  });
  const sent: Buffer[] = [];
  const pieces: Buffer[] = [];
  client.on('data', (bytes) => pieces.push(bytes));
  client.pause();
  // The kernel takes some megabytes for a client that does not read; the first that it does not take all of is the last.
  while (writer.bufferedBytes === 0) {
    const bytes = Buffer.alloc(64 * 1024, 1 + (sent.length % 250));
    sent.push(Buffer.from(bytes));
    const taken = writer.write(bytes);
    if (taken) bytes.fill(0);
    t.equal(taken, writer.bufferedBytes === 0);
  }
  t.ok(sent.length > 1);
  const total = sent.reduce((sum, { length }) => sum + length, 0);
  client.resume();
  await until(() => pieces.reduce((sum, { length }) => sum + length, 0) === total);
  await until(() => isDrained);
  t.ok(Buffer.concat(pieces).equals(Buffer.concat(sent)));
});
