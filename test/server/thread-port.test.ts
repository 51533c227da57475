import { setTimeout as pause } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { Index, Term } from '../../src/base/ids.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { SharedArena, sharedChunkBytes } from '../../src/base/shared-arena.ts';
import { newLane } from '../../src/server/fast-lane.ts';
import {
  batchProposals,
  type FromRaft,
  type ToRaft,
  unbatchProposals,
} from '../../src/server/raft-messages.ts';
import { ThreadPort } from '../../src/server/thread-port.ts';
import { loadNativeAddon } from '../../src/storage/native-addon.ts';

const { reason } = loadNativeAddon();
const term = 3 as Term;

/** Both ends of a talk, with what either received, in words. */
function talk(t: Test, withLane: boolean) {
  const lane = withLane ? newLane() : undefined;
  const { port1, port2 } = new MessageChannel();
  const posted = { count: 0 };
  const post = port1.postMessage.bind(port1);
  port1.postMessage = (...args: unknown[]) => {
    posted.count++;
    post(...(args as [unknown]));
  };
  const main = new ThreadPort<ToRaft, FromRaft>(port1, lane?.own);
  const raft = new ThreadPort<FromRaft, ToRaft>(port2, lane?.other);
  const received = { main: [] as string[], raft: [] as string[] };
  main.listen((batch) => received.main.push(...batch.map(wordsOf)));
  raft.listen((batch) => received.raft.push(...batch.map(wordsOf)));
  t.teardown(() => {
    main.close();
    raft.close();
    port1.close();
  });
  return { main, raft, received, posted };
}

function wordsOf(message: ToRaft | FromRaft): string {
  if (message.type !== 'propose') return JSON.stringify(message);
  const commands = unbatchProposals(message).map(({ ticket, command }) => {
    return `${ticket}: ${command.length} x ${command[0]}, ${command.at(-1)}`;
  });
  return `term ${message.term}, ${commands.join('; ')}`;
}

function firstDifference(found: readonly string[], wanted: readonly string[]): string | undefined {
  const at = wanted.findIndex((words, i) => found[i] !== words);
  return at === -1 ? undefined : `message ${at}: ${found[at]} instead of ${wanted[at]}`;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await pause(1);
}

/** Makes messages: most of them can be said in numbers. */
class Speaker {
  readonly #random: Random;
  readonly #arena = new SharedArena();
  #ticket = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  toRaft(): ToRaft {
    const kind = this.#random.int(0, 19);
    if (kind < 3) return { type: 'applied', bytes: this.#random.int(0, 2 ** 40) };
    if (kind === 3) return { type: 'status', request: ++this.#ticket };
    if (kind === 4) return this.#proposals(1, 300_000);
    return this.#proposals(this.#random.int(1, kind === 5 ? 700 : 10), 5000);
  }

  fromRaft(): FromRaft {
    const count = this.#random.int(1, this.#random.int(0, 9) === 0 ? 500 : 10);
    const bytes = this.#random.int(0, 4) === 0 ? 100 : 0;
    const ones = Array.from({ length: count }, () => 1);
    return {
      type: 'apply',
      firstIndex: this.#random.int(1, 2 ** 48) as Index,
      terms: ones.map(() => this.#random.int(1, 2 ** 40)),
      types: ones,
      tickets: ones.map(() => this.#random.int(0, 2 ** 40)),
      sizes: ones.map((_, i) => (i === 0 ? bytes : 0)),
      data: new ArrayBuffer(bytes),
    };
  }

  #proposals(count: number, largest: number): ToRaft {
    const proposals = Array.from({ length: count }, () => {
      const size = this.#random.int(Math.ceil(largest / 2), largest);
      const ticket = ++this.#ticket;
      return { ticket, command: this.#arena.allocate(size).fill(ticket % 251) };
    });
    return batchProposals(term, proposals);
  }
}

for (const withLane of [false, true]) {
  const skip = withLane ? (reason ?? false) : false;
  t.test(withLane ? 'with a lane' : 'without a lane', { skip }, async (t) => {
    t.test('everything arrives as it was, in order, both ways', async (t) => {
      const { main, raft, received } = talk(t, withLane);
      const random = seededRandom(withLane ? 7 : 8);
      const speaker = new Speaker(random);
      const sent = { main: [] as string[], raft: [] as string[] };
      for (let step = 0; step < 3000; step++) {
        const batch = Array.from({ length: random.int(1, 3) }, () => speaker.toRaft());
        sent.main.push(...batch.map(wordsOf));
        main.postMessage(batch);
        const answer = speaker.fromRaft();
        sent.raft.push(wordsOf(answer));
        raft.postMessage([answer], answer.type === 'apply' ? [answer.data] : []);
        if (random.int(0, 9) === 0) await pause(0);
      }
      await until(() => received.raft.length === sent.main.length);
      await until(() => received.main.length === sent.raft.length);
      t.equal(received.raft.length, sent.main.length);
      t.equal(received.main.length, sent.raft.length);
      t.equal(firstDifference(received.raft, sent.main), undefined);
      t.equal(firstDifference(received.main, sent.raft), undefined);
    });
  });
}

t.test('what is said for each write takes the lane', { skip: reason ?? false }, async (t) => {
  const { main, received, posted } = talk(t, true);
  const arena = new SharedArena();
  const propose = (ticket: number, size: number): void =>
    main.postMessage([batchProposals(term, [{ ticket, command: arena.allocate(size).fill(1) }])]);
  propose(1, 1000);
  t.equal(posted.count, 1, 'new memory is named once');
  for (let ticket = 2; ticket <= 100; ticket++) propose(ticket, 1000);
  main.postMessage([{ type: 'applied', bytes: 5 }]);
  t.equal(posted.count, 1);
  const large = Buffer.from(new SharedArrayBuffer(2 * sharedChunkBytes));
  for (const ticket of [101, 102]) {
    main.postMessage([batchProposals(term, [{ ticket, command: large.subarray(0, 1000) }])]);
  }
  t.equal(posted.count, 3, 'the memory of a large command is not kept');
  propose(103, 1000);
  propose(104, 1000);
  t.equal(posted.count, 4);
  await until(() => received.raft.length === 105);
  t.equal(received.raft.length, 105);
});

t.test('what finds no room in the lane takes the port', { skip: reason ?? false }, async (t) => {
  const { main, received, posted } = talk(t, true);
  for (let bytes = 0; bytes < 10_000; bytes++) main.postMessage([{ type: 'applied', bytes }]);
  t.ok(posted.count > 1000);
  await until(() => received.raft.length === 10_000);
  t.same(
    received.raft,
    Array.from({ length: 10_000 }, (_, bytes) => JSON.stringify({ type: 'applied', bytes })),
  );
});
