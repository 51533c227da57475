import t from 'tap';
import { SocketWriter } from '../../src/server/direct-writes.ts';
import { readStatically } from '../../src/server/static-reads.ts';
import { noise, pair, until } from './socket-pair.ts';

t.test(
  'what the kernel does not take at once is counted until it does, and arrives in order',
  async (t) => {
    const { client, accepted } = await pair(t);
    const { socket } = readStatically(accepted, () => {});
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
  const { socket } = readStatically(accepted, () => {});
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
  const { socket } = readStatically(accepted, () => {});
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
