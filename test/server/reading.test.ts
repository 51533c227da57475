import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { clientReading } from '../../src/server/batch-reads.ts';
import { SocketWriter } from '../../src/server/direct-writes.ts';
import type { StartReading } from '../../src/server/reading.ts';
import { loadNativeAddon } from '../../src/storage/native-addon.ts';
import { noise, pair, until } from './socket-pair.ts';

const { addon, reason } = loadNativeAddon();

t.test('each socket read by itself', (t) => suite(t, clientReading(undefined)));
t.test('sockets read together', { skip: addon === undefined && reason }, async (t) => {
  const startReading = clientReading(addon);
  await suite(t, startReading);

  await t.test('one that is no TCP is read by itself', async (t) => {
    const server = createServer({ pauseOnConnect: true });
    t.teardown(() => server.close());
    const accepting = once(server, 'connection') as Promise<[Socket]>;
    server.listen(join(tmpdir(), `reading-${process.pid}`));
    await once(server, 'listening');
    const client = connect(server.address() as string);
    t.teardown(() => client.destroy());
    const [accepted] = await accepting;
    const { reading, received } = collect(t, startReading, accepted);
    client.write('hello');
    await until(() => received() === 'hello');
    reading.pause();
    t.equal(reading.readNow()?.length, 0);
  });
});

/** What every way of reading promises. */
async function suite(t: Test, startReading: StartReading): Promise<void> {
  await t.test('everything arrives, in pieces that are never overwritten', async (t) => {
    const { client, accepted } = await pair(t);
    const pieces: Buffer[] = [];
    let length = 0;
    const { socket } = startReading(accepted, (bytes) => {
      pieces.push(bytes);
      length += bytes.length;
    });
    t.teardown(() => socket.destroy());
    const sent = noise(1_000_000);
    for (let at = 0; at < sent.length; at += 9973) client.write(sent.subarray(at, at + 9973));
    await until(() => length === sent.length);
    t.ok(Buffer.concat(pieces).equals(sent));
  });

  await t.test('of many that pause now and then, none loses or mixes up anything', async (t) => {
    const random = seededRandom(3);
    const sent = noise(200_000);
    const all = Array.from({ length: 80 }, async () => {
      const { client, accepted } = await pair(t);
      const pieces: Buffer[] = [];
      let length = 0;
      const reading = startReading(accepted, (bytes) => {
        pieces.push(bytes);
        length += bytes.length;
        if (random.int(0, 3) > 0) return;
        reading.pause();
        setImmediate(() => reading.resume());
      });
      t.teardown(() => reading.socket.destroy());
      const from = random.int(0, 100_000);
      const part = sent.subarray(from, from + 50_000);
      for (let at = 0; at < part.length; ) {
        const end = at + random.int(1, 8000);
        client.write(part.subarray(at, end));
        at = end;
        if (random.int(0, 2) === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => length >= part.length);
      return Buffer.concat(pieces).equals(part);
    });
    t.ok((await Promise.all(all)).every((equal) => equal));
  });

  await t.test('a paused socket is not read, and goes on where it was', async (t) => {
    const { client, accepted } = await pair(t);
    const { reading, received } = collect(t, startReading, accepted, (text) => {
      if (text === 'one') reading.pause();
    });
    client.write('one');
    await until(() => received() === 'one');
    client.write('two');
    await turns(50);
    t.equal(received(), 'one');
    reading.resume();
    await until(() => received() === 'onetwo');
  });

  await t.test('what is read at once is not received again', async (t) => {
    const { client, accepted } = await pair(t);
    let now = '';
    const { reading, received } = collect(t, startReading, accepted, (text) => {
      if (text !== 'one') return;
      // Still in the call for the first piece: nothing turns the event loop.
      client.write('two');
      for (const end = performance.now() + 5000; now !== 'two' && performance.now() < end; ) {
        now += reading.readNow()?.toString() ?? '';
      }
    });
    client.write('one');
    await until(() => received() !== '');
    t.equal(now, 'two');
    client.write('three');
    await until(() => received() === 'onethree');
    t.equal(reading.readNow()?.length, 0);
  });

  await t.test('that a client has gone is seen at once', async (t) => {
    const { client, accepted } = await pair(t);
    let seen: Buffer | undefined = Buffer.alloc(0);
    const { reading, received } = collect(t, startReading, accepted, () => {
      client.resetAndDestroy();
      for (const end = performance.now() + 5000; seen !== undefined && performance.now() < end; ) {
        seen = reading.readNow();
      }
    });
    reading.socket.on('error', () => {});
    const closed = once(reading.socket, 'close').catch(() => {});
    client.write('one');
    await until(() => received() === 'one');
    t.equal(seen, undefined);
    await closed;
  });

  await t.test('the end of the other side comes behind what it has said', async (t) => {
    const { client, accepted } = await pair(t);
    const { reading, received } = collect(t, startReading, accepted);
    client.end('the last word');
    await once(reading.socket, 'close');
    t.equal(received(), 'the last word');
  });

  await t.test('answers that are on their way when the other side ends still leave', async (t) => {
    const { accepted, client } = await pair(t, { allowHalfOpen: true });
    const { reading } = collect(t, startReading, accepted);
    const writer = new SocketWriter(reading.socket, () => {});
    client.pause();
    const sent = noise(8_000_000);
    writer.write(sent);
    t.ok(writer.bufferedBytes > 0);
    client.end();
    await turns(20);
    let length = 0;
    client.on('data', (bytes: Buffer) => {
      length += bytes.length;
    });
    client.resume();
    await once(client, 'end');
    t.equal(length, sent.length);
  });

  await t.test('a reset closes the socket with an error', async (t) => {
    const { client, accepted } = await pair(t);
    const { reading } = collect(t, startReading, accepted);
    const failed = once(reading.socket, 'error');
    const closed = new Promise((resolve) => reading.socket.once('close', resolve));
    client.resetAndDestroy();
    t.match((await failed)[0], { message: /ECONNRESET/ });
    await closed;
  });

  await t.test('one that is closed while another one is served is not served', async (t) => {
    const [one, two] = [await pair(t), await pair(t)];
    const served: string[] = [];
    const first = startReading(one.accepted, () => {
      served.push('first');
      second.socket.destroy();
    });
    const second = startReading(two.accepted, () => {
      served.push('second');
      first.socket.destroy();
    });
    t.teardown(() => first.socket.destroy());
    t.teardown(() => second.socket.destroy());
    const closed = Promise.race(
      [one.client, two.client].map((client) => {
        // What it said was not read when its connection was closed.
        client.on('error', () => {});
        return new Promise((resolve) => client.once('close', resolve));
      }),
    );
    one.client.write('now');
    two.client.write('now');
    // Both are there before the loop turns: the descriptor of the other one is gone when its turn comes.
    const end = performance.now() + 20;
    while (performance.now() < end);
    await closed;
    t.equal(served.length, 1);
    // Its number is given to the next one, which is read as ever.
    const { client, accepted } = await pair(t);
    const { received } = collect(t, startReading, accepted);
    client.write('later');
    await until(() => received() === 'later');
  });

  await t.test('a connection changes its owner; the first one hears it close', async (t) => {
    const { client, accepted } = await pair(t);
    let other: Socket | undefined;
    const { reading, received } = collect(t, startReading, accepted, () => {
      // In the call that brought the last of what is for the first.
      other = reading.handOver();
    });
    const closed = new Promise((resolve) => reading.socket.once('close', resolve));
    client.write('for the first');
    await closed;
    t.equal(received(), 'for the first');
    t.teardown(() => other?.destroy());
    client.write('for the second');
    let second = '';
    other?.on('data', (bytes: Buffer) => {
      second += bytes.toString();
    });
    await until(() => second === 'for the second');
    t.equal(received(), 'for the first');
    const gone = once(client, 'close');
    other?.end('answer');
    t.equal(String((await once(client, 'data'))[0]), 'answer');
    await gone;
  });
}

/** Reads a socket and keeps everything as a text. */
function collect(
  t: Test,
  startReading: StartReading,
  accepted: Socket,
  onReceived: (all: string) => void = () => {},
) {
  let text = '';
  const reading = startReading(accepted, (bytes) => {
    text += bytes.toString('latin1');
    onReceived(text);
  });
  t.teardown(() => reading.socket.destroy());
  return { reading, received: () => text };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
