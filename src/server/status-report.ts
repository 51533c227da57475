import type { ServerId } from '../base/ids.ts';
import type { Transition } from '../raft/events.ts';
import type { RaftStatus } from '../raft/status.ts';
import type { ServerStatus } from './control.ts';
import type { PeerStatus } from './peers.ts';
import type { RaftNodeStatus } from './raft-node.ts';

/** The members as this server sees them, in the order in which they were added. */
export function serverStatuses(self: ServerId, node: RaftNodeStatus): ServerStatus[] {
  const { raft, peers } = node;
  return (raft?.configuration.servers ?? []).map(({ id, address, role }) => {
    const follower = raft?.peers.find((peer) => peer.id === id);
    const ownIndex = id === self && raft?.state === 'leader' ? raft.durableIndex : undefined;
    return {
      id,
      address,
      role,
      connected: id === self ? undefined : isConnected(id, peers),
      matchIndex: follower?.match ?? ownIndex,
    };
  });
}

/** Why no leader is known, in one sentence; undefined when one is. */
export function reasonForNoLeader(
  self: ServerId,
  transition: Transition,
  node: RaftNodeStatus,
): string | undefined {
  const { raft, peers } = node;
  if (transition.leader !== undefined) return undefined;
  if (raft === undefined) return 'the log is being read';
  const { servers } = raft.configuration;
  const member = servers.find(({ id }) => id === self);
  if (member === undefined) {
    return `this server is not a member: run \`dqlited cluster add ${self} ADDRESS\` on one`;
  }
  if (member.role !== 'voter') return `it heard of none, and a ${member.role} does not vote`;
  const voters = servers.filter(({ role }) => role === 'voter');
  const missing = voters.filter(({ id }) => id !== self && !isConnected(id, peers));
  const needed = Math.floor(voters.length / 2) + 1;
  const reached = voters.length - missing.length;
  if (reached < needed) {
    const names = missing.map(({ address }) => address).join(', ');
    return `an election takes ${needed} of ${voters.length} voters and this server reaches ${reached}: start ${names}`;
  }
  return electionText(raft);
}

function electionText(raft: RaftStatus): string {
  const { state, suspected, term, votedFor, votes } = raft;
  if (state === 'candidate' || state === 'preCandidate') {
    return `an election is under way in term ${term}, with votes of ${votes.join(', ')}`;
  }
  if (suspected !== undefined) {
    return `server ${suspected}, which led term ${term}, broke its connection: an election follows`;
  }
  const vote = votedFor === undefined ? 'has not voted' : `voted for server ${votedFor}`;
  return `it heard of none in term ${term}, in which it ${vote}`;
}

function isConnected(id: ServerId, peers: readonly PeerStatus[]): boolean {
  const peer = peers.find((candidate) => candidate.id === id);
  return peer?.outbound === 'open' || peer?.inbound === true;
}
