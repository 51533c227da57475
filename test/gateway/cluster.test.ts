import t from 'tap';
import type { ServerId } from '../../src/base/ids.ts';
import type { Role } from '../../src/protocol/log.ts';
import { selfAddress, selfId } from '../support/fake-consensus.ts';
import { frame, request, text, uint64 } from '../support/wire.ts';
import { Harness, show } from './harness.ts';

t.test('only a voter names the leader', async (t) => {
  const answers: { [role in Role]?: string } = {};
  for (const role of ['voter', 'standby', 'spare'] as const) {
    const servers = [
      { id: selfId, address: selfAddress, role },
      { id: 2n as ServerId, address: 'b:2', role: 'voter' },
    ] as const;
    const harness = new Harness({ configuration: { servers }, following: true });
    harness.consensus.become({ leader: { id: 2n as ServerId, address: 'b:2' } });
    const client = harness.connect();
    client.send(request.leader(), request.cluster(0), request.cluster(1), request.cluster(2));
    answers[role] = show(await client.next());
    t.equal(client.messages[0]?.readUInt32LE(0), 1 + (1 + 2) + (1 + 1));
    client.messages.shift();
    t.strictSame(await client.next(), { kind: 'servers', servers });
    t.equal(show(await client.next()), 'failure 1005 unrecognized cluster format');
  }
  t.strictSame(answers, { voter: 'server 2 b:2', standby: 'server 0 ', spare: 'server 0 ' });
});

t.test('LEADER waits while leadership moves, but not for ever', async (t) => {
  const servers = [
    { id: selfId, address: selfAddress, role: 'voter' },
    { id: 2n as ServerId, address: 'b:2', role: 'voter' },
  ] as const;
  const leader = { id: 2n as ServerId, address: 'b:2' };
  const limits = { leaderWaitMs: 1000 };
  const harness = new Harness({ configuration: { servers }, limits, following: true });
  harness.consensus.become({ leader });
  const client = harness.connect();
  client.send(request.leader());
  t.equal(show(await client.next()), 'server 2 b:2');

  harness.consensus.become({ leader: undefined });
  client.send(request.leader());
  await harness.advance(999);
  t.equal(client.messages.length, 0);
  harness.consensus.become({ leader });
  t.equal(show(await client.next()), 'server 2 b:2');

  harness.consensus.become({ leader: undefined });
  client.send(request.leader());
  await harness.advance(1000);
  t.equal(show(await client.next()), 'server 0 ');
  client.send(request.leader());
  t.equal(show(await client.next()), 'server 0 ', 'the wait counts from the loss');

  harness.consensus.lead();
  harness.consensus.become({ transferring: true });
  client.send(request.leader());
  await harness.settle();
  t.equal(client.messages.length, 0);
  harness.consensus.become({ transferring: false });
  t.equal(show(await client.next()), `server 1 ${selfAddress}`);
});

t.test('WEIGHT is told by DESCRIBE, on any server', async (t) => {
  const client = new Harness({ following: true, failureDomain: 7n }).connect();
  client.send(request.weight(3), request.describe(0), request.describe(1));
  t.equal(show(await client.next()), 'empty');
  t.equal(show(await client.next()), 'metadata 7 3');
  t.equal(show(await client.next()), 'failure 15 bad format version');
});

t.test('membership requests become changes and end as Raft says', async (t) => {
  const harness = new Harness();
  const client = harness.connect();
  const answers: string[] = [];
  const ask = async (bytes: Buffer) => {
    client.send(bytes);
    answers.push(show(await client.next()));
  };
  await ask(request.add(4, 'd:4'));
  await ask(request.assign(4, 1));
  await ask(frame(13, uint64(4)));
  await ask(request.remove(4));
  await ask(request.transfer(0));
  await ask(request.transfer(2));
  t.strictSame(harness.consensus.changes, [
    { kind: 'add', id: 4n, address: 'd:4' },
    { kind: 'assign', id: 4n, role: 'standby' },
    { kind: 'assign', id: 4n, role: 'voter' },
    { kind: 'remove', id: 4n },
  ]);
  t.strictSame(harness.consensus.transfers, [undefined, 2n]);
  t.strictSame(new Set(answers), new Set(['empty']));

  answers.length = 0;
  await ask(request.add(0, 'd:4'));
  await ask(request.assign(4, 3));
  harness.consensus.refusal = 'changeInProgress';
  await ask(request.remove(4));
  harness.consensus.refusal = 'transferFailed';
  await ask(request.transfer(2));
  harness.consensus.loseLeadership();
  for (const bytes of [
    request.add(4, 'd:4'),
    request.assign(4, 9),
    request.remove(0),
    request.transfer(0),
  ]) {
    await ask(bytes);
  }
  t.strictSame(answers, [
    'failure 1 server ID is not valid',
    'failure 1 server role is not valid',
    'failure 5 a configuration change is already in progress',
    'failure 1 leadership transfer failed',
    ...Array.from({ length: 4 }, () => 'failure 10250 not leader'),
  ]);
});

t.test('CONNECT gives the connection away, with what came behind it', async (t) => {
  const harness = new Harness();
  const client = harness.connect();
  const rest = Buffer.from('raft from here on');
  client.send(frame(11, Buffer.concat([uint64(9), text('peer:9')])), rest);
  t.match(client.peer, { id: 9n, address: 'peer:9' });
  t.ok(client.peer?.rest.equals(rest));
  t.equal(harness.gateway.sessionCount, 0);
  client.send(request.leader());
  t.equal(client.messages.length, 0);
});
