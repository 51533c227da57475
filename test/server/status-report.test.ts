import t from 'tap';
import { reasonForNoLeader } from '../../src/server/status-report.ts';
import { id, instant, members, TestServer, testOptions } from '../raft/cluster.ts';

t.test('a leader whose connection broke is no leader, and the reason says so', (t) => {
  const nowhere = () => {};
  const around = {
    send: nowhere,
    shipSnapshot: nowhere,
    applied: nowhere,
    settled: nowhere,
    transition: nowhere,
    stepped: nowhere,
  };
  const roles = { 1: 'voter', 2: 'voter', 3: 'voter' } as const;
  const server = new TestServer(testOptions(id(1)), around, members(roles));
  server.start(instant(0), 1);
  const { raft } = server;
  if (raft === undefined) throw new Error('it was started');
  const peer = (number: number) => ({
    id: id(number),
    address: `s${number}`,
    outbound: 'open' as const,
    inbound: true,
    queuedBytes: 0,
    lastError: undefined,
  });
  const reason = () =>
    reasonForNoLeader(id(1), raft.transition, {
      raft: raft.status(),
      peers: [peer(2), peer(3)],
      backlogBytes: 0,
      appendMs: undefined,
    });
  t.equal(reason(), 'it heard of none in term 1, in which it has not voted');

  const heartbeat = { prevIndex: 1, prevTerm: 1, leaderCommit: 1, entries: [], round: 1 };
  const message = { kind: 'appendEntries', term: 1, ...heartbeat } as never;
  server.step({ type: 'receive', from: { id: id(2), address: 's2' }, message }, instant(1));
  t.equal(reason(), undefined);
  server.step({ type: 'disconnected', peer: id(3) }, instant(2));
  t.equal(reason(), undefined, 'it was the connection of another');
  server.step({ type: 'disconnected', peer: id(2) }, instant(2));
  t.equal(reason(), 'server 2, which led term 1, broke its connection: an election follows');
  server.step({ type: 'receive', from: { id: id(2), address: 's2' }, message }, instant(3));
  t.equal(reason(), undefined);
  t.end();
});
