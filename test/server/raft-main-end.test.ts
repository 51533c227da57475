import t from 'tap';
import type { Index, Term } from '../../src/base/ids.ts';
import { SharedArena } from '../../src/base/shared-arena.ts';
import type { Transition } from '../../src/raft/events.ts';
import { SharedLease } from '../../src/server/raft-lease.ts';
import { MainEnd } from '../../src/server/raft-main-end.ts';
import { type ToRaft, unbatchProposals } from '../../src/server/raft-messages.ts';
import { VirtualClock } from '../sim/virtual-clock.ts';

const term = 3 as Term;

/** The main thread's end, with what it sends: each batch of proposals as its tickets. */
function bench(turnMs = 0) {
  const clock = new VirtualClock();
  clock.nextTurn = (run) => void clock.after(turnMs, run);
  const sent: ToRaft[] = [];
  const port = { postMessage: (batch: readonly ToRaft[]) => void sent.push(...batch) };
  const end = new MainEnd(port as never, clock, new SharedLease(clock));
  const applied: number[] = [];
  const machine = {
    apply: (entries: readonly { readonly ticket: number | undefined }[]) => {
      for (const { ticket } of entries) applied.push(ticket ?? 0);
    },
    transition: () => {},
  };
  end.drive(machine as never, () => {});
  const arena = new SharedArena();
  let ticket = 0;
  const propose = (): void => {
    const command = arena.allocate(16);
    command.fill(++ticket);
    end.request({ type: 'propose', term, ticket, command });
  };
  const turn = (): void => {
    while (clock.runNext(clock.now()));
  };
  const apply = (tickets: readonly number[]): void =>
    end.receive({
      type: 'apply',
      firstIndex: 1 as Index,
      terms: tickets.map(() => term),
      types: tickets.map(() => 1),
      tickets,
      sizes: tickets.map(() => 0),
      data: new ArrayBuffer(0),
    });
  const batches = (): (readonly number[])[] =>
    sent.flatMap((message) => (message.type === 'propose' ? [message.tickets] : []));
  return { clock, end, sent, applied, propose, turn, apply, batches };
}

t.test('what is proposed in one turn travels together, in shared memory', (t) => {
  const { propose, turn, sent, batches } = bench();
  propose();
  propose();
  turn();
  t.same(batches(), [[1, 2]]);
  const [batch] = sent;
  if (batch?.type !== 'propose') throw new Error('a batch of proposals');
  t.equal(batch.pieces.length, 1);
  t.same(
    unbatchProposals(batch).map(({ ticket, command }) => [ticket, command[0]]),
    [
      [1, 1],
      [2, 2],
    ],
  );
  t.end();
});

t.test('behind another batch one waits while each turn of the loop brings more', (t) => {
  const { clock, propose, batches } = bench();
  const oneTurn = (): boolean => clock.runNext(clock.now());
  propose();
  propose();
  oneTurn();
  t.same(batches(), [[1, 2]], 'not while nothing is under way');
  propose();
  for (let i = 0; i < 5; i++) {
    propose();
    oneTurn();
  }
  t.same(batches(), [[1, 2]]);
  oneTurn();
  t.same(batches(), [
    [1, 2],
    [3, 4, 5, 6, 7, 8],
  ]);
  t.end();
});

t.test('what comes in every turn does not keep a batch for ever', (t) => {
  const { clock, propose, batches } = bench(0.1);
  propose();
  clock.runNext(clock.now() + 0.1);
  propose();
  let turns = 0;
  for (; batches().length === 1 && turns < 100; turns++) {
    propose();
    clock.runNext(clock.now() + 0.1);
  }
  t.ok(turns >= 8 && turns <= 14, `${turns} turns of 0.1 ms`);
  t.end();
});

t.test(
  'with two batches under way the next one waits for company, and leaves when one arrives',
  (t) => {
    const { propose, turn, apply, applied, batches } = bench();
    for (let i = 0; i < 5; i++) {
      propose();
      turn();
    }
    t.same(batches(), [[1], [2]]);
    apply([1]);
    turn();
    t.same(batches(), [[1], [2], [3, 4, 5]]);
    t.same(applied, [1]);
    t.end();
  },
);

t.test('a request of another kind goes behind everything that was proposed before it', (t) => {
  const { propose, turn, end, sent, batches } = bench();
  for (let i = 0; i < 4; i++) {
    propose();
    turn();
  }
  end.request({ type: 'transfer', ticket: 9, to: undefined });
  turn();
  t.same(batches(), [[1], [2], [3, 4]]);
  t.equal(sent.at(-1)?.type, 'transfer');
  t.end();
});

t.test('what waits leaves when the leadership has ended: it is refused, not forgotten', (t) => {
  const { propose, turn, end, batches } = bench();
  for (let i = 0; i < 3; i++) {
    propose();
    turn();
  }
  const transition = { state: 'follower', term, ready: false } as unknown as Transition;
  end.receive({ type: 'transition', transition });
  turn();
  t.same(batches(), [[1], [2], [3]]);
  t.end();
});

t.test('what nobody waits for goes with the next message, or after a moment', (t) => {
  const { clock, end, turn, sent } = bench();
  end.channel.postLater({ type: 'applied', bytes: 1 });
  turn();
  t.same(sent, []);
  end.request({ type: 'read', ticket: 1 });
  turn();
  t.same(
    sent.map(({ type }) => type),
    ['applied', 'read'],
  );
  end.channel.postLater({ type: 'applied', bytes: 2 });
  t.ok(clock.runNext(clock.now() + 10));
  t.equal(sent.length, 3);
  t.end();
});
