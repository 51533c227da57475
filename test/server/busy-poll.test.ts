import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import pino from 'pino';
import t from 'tap';
import { BusyPoll } from '../../src/server/busy-poll.ts';
import { ClientConnection } from '../../src/server/client-connection.ts';
import { busyPollLimitMs } from '../../src/server/daemon-options.ts';
import { readStatically } from '../../src/server/static-reads.ts';
import { Harness } from '../gateway/harness.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';
import { handshake, request } from '../support/wire.ts';

/** Turns of a loop whose every turn takes 10 us, with a limit of 100 us. */
class Loop {
  readonly #clock = new VirtualClock();
  othersWork = false;
  turns = 0;
  readonly poll: BusyPoll;

  constructor(limitMs = 0.1) {
    this.poll = new BusyPoll({
      clock: {
        now: () => this.#clock.now(),
        after: (delayMs, run) => this.#clock.after(delayMs, run),
        nextTurn: (run) => {
          this.turns++;
          this.#clock.after(0.01, run);
        },
      },
      limitMs,
      othersWork: () => this.othersWork,
    });
  }

  /** Passes time; returns how many turns were asked for in it. */
  pass(forMs: number): number {
    const before = this.turns;
    const until = this.#clock.now() + forMs;
    while (this.#clock.runNext(until));
    return this.turns - before;
  }

  /** A request that is answered at once. */
  request(): void {
    this.poll.asked();
    this.poll.answered();
  }
}

t.test('a client in a hurry finds the loop awake', (t) => {
  const loop = new Loop();
  loop.request();
  t.equal(loop.pass(0.05), 0, 'nobody has been quick yet');
  loop.request();
  const turns = loop.pass(0.05);
  t.ok(turns >= 4, `turned ${turns} times`);
  loop.request();
  t.ok(loop.pass(0.05) >= 4);
  t.end();
});

t.test('the loop sleeps when the next request does not come', (t) => {
  const loop = new Loop();
  loop.request();
  loop.pass(0.05);
  loop.request();
  const turns = loop.pass(1000);
  t.ok(turns >= 9 && turns <= 12, `turned ${turns} times, for 100 us`);
  loop.request();
  t.equal(loop.pass(1000), 0, 'the client was slow: it is not waited for again');
  t.end();
});

t.test('clients that take their time are never waited for', (t) => {
  const loop = new Loop();
  for (let i = 0; i < 20; i++) {
    loop.request();
    t.equal(loop.pass(0.5), 0);
  }
  t.end();
});

t.test('a request that waits for others leaves the processor to them', (t) => {
  const loop = new Loop();
  loop.request();
  loop.pass(0.05);
  loop.request();
  t.ok(loop.pass(0.03) >= 2);
  loop.poll.asked();
  t.ok(loop.pass(5) <= 1, 'what was asked is not answered');
  loop.poll.answered();
  t.ok(loop.pass(0.05) >= 4, 'the answer may be followed by the next request');
  loop.request();
  loop.othersWork = true;
  t.ok(loop.pass(5) <= 1, 'another request waits for them');
  t.end();
});

t.test('0 is never', (t) => {
  const loop = new Loop(0);
  for (let i = 0; i < 5; i++) loop.request();
  t.equal(loop.pass(1), 0);
  t.equal(loop.turns, 0);
  t.end();
});

t.test('a connection tells of requests and of answers', async (t) => {
  const told: string[] = [];
  const server = createServer({ pauseOnConnect: true });
  const accepting = once(server, 'connection') as Promise<[Socket]>;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1' });
  const [accepted] = await accepting;
  const connection = new ClientConnection(accepted, {
    gateway: new Harness().gateway,
    adoptPeer: () => t.fail('no server'),
    startReading: readStatically,
    busyPoll: { asked: () => told.push('asked'), answered: () => told.push('answered') },
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => {
    connection.close();
    client.destroy();
    server.close();
  });
  client.write(Buffer.concat([handshake, request.open('db')]));
  await once(client, 'data');
  t.same(told, ['asked', 'answered']);
});

t.test('on the only processor nothing is waited for, unless that was asked for', (t) => {
  t.equal(busyPollLimitMs({ busyPoll: undefined }, 2), 0.1);
  t.equal(busyPollLimitMs({ busyPoll: undefined }, 1), 0);
  t.equal(busyPollLimitMs({ busyPoll: 50 }, 1), 0.05);
  t.equal(busyPollLimitMs({ busyPoll: 0 }, 2), 0);
  t.end();
});
