import { DqliteError } from '../../base/errors.ts';
import type { ServerId } from '../../base/ids.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import { olderResponses } from '../../protocol/responses.ts';
import { roleOfClient } from '../../protocol/roles.ts';
import type { Change, Transition } from '../../raft/events.ts';
import type { Session } from '../session.ts';
import type { Steps } from '../task.ts';
import { waitForPromise } from '../waits.ts';

const noServer = { id: 0n, address: '' };

/**
 * Only a voter names the leader, so that clients connect to nodes that can tell when they are cut off. While leadership
 * moves the answer waits for its end. A leader that hands over names nobody: it would refuse what comes, and clients
 * give up after a few refusals.
 */
export function leader(session: Session, _request: RequestOf<'leader'>): Steps | undefined {
  if (session.gateway.leaderWatch.pending) return nameLeaderLater(session);
  nameLeader(session);
  return undefined;
}

function* nameLeaderLater(session: Session): Steps {
  yield* session.untilLeaderKnown();
  nameLeader(session);
}

function nameLeader(session: Session): void {
  const { consensus, server } = session.gateway;
  const { configuration, leader: known, transferring } = consensus.transition;
  const self = configuration.servers.find(({ id }) => id === server.id);
  const { id, address } = (self?.role === 'voter' && !transferring ? known : undefined) ?? noServer;
  if (session.version === 'legacy') {
    olderResponses.write(session.writer, { kind: 'serverAddress', address });
  } else {
    session.reply({ kind: 'server', id, address });
  }
}

/** The newest configuration of this server's log, committed or not. */
export function cluster(session: Session, { format }: RequestOf<'cluster'>): undefined {
  const { servers } = session.gateway.consensus.transition.configuration;
  if (format === 1n) session.reply({ kind: 'servers', servers });
  else if (format === 0n)
    olderResponses.write(session.writer, { kind: 'serverAddresses', servers });
  else throw DqliteError.of('unrecognizedFormat');
}

export function describe(session: Session, { format }: RequestOf<'describe'>): undefined {
  if (format !== 0n) throw DqliteError.of('badFormatVersion');
  const { server, weight } = session.gateway;
  session.reply({ kind: 'metadata', failureDomain: server.failureDomain, weight });
}

export function weight(session: Session, request: RequestOf<'weight'>): undefined {
  session.gateway.weight = request.weight;
  session.reply({ kind: 'empty', unused: 0n });
}

export function add(session: Session, { id, address }: RequestOf<'add'>): Steps {
  return change(session, { kind: 'add', id: serverId(id), address });
}

export function* assign(session: Session, request: RequestOf<'assign'>): Steps {
  mustLead(session);
  const role = request.role === undefined ? 'voter' : roleOfClient(request.role);
  if (role === undefined) throw DqliteError.of('badServerRole');
  yield* change(session, { kind: 'assign', id: serverId(request.id), role });
}

export function remove(session: Session, { id }: RequestOf<'remove'>): Steps {
  return change(session, { kind: 'remove', id: serverId(id) });
}

export function* transfer(session: Session, { id }: RequestOf<'transfer'>): Steps {
  const { consensus } = session.gateway;
  mustLead(session);
  const to = id === 0n ? undefined : serverId(id);
  yield* session.task.pause((task) => waitForPromise(consensus.transfer(to), task), undefined);
  session.reply({ kind: 'empty', unused: 0n });
}

function* change(session: Session, wanted: Change): Steps {
  const { consensus } = session.gateway;
  mustLead(session);
  if (wanted.id === 0n)
    throw DqliteError.of(wanted.kind === 'assign' ? 'serverNotFound' : 'badServerId');
  yield* session.task.pause((task) => waitForPromise(consensus.change(wanted), task), undefined);
  session.reply({ kind: 'empty', unused: 0n });
}

function mustLead(session: Session): void {
  const { state }: Transition = session.gateway.consensus.transition;
  if (state !== 'leader') throw DqliteError.of('notLeader');
}

function serverId(id: bigint): ServerId {
  return id as ServerId;
}
