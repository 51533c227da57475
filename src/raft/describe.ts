import type { Effects, Event, Outbound, Persist, Settlement, Transition } from './events.ts';
import type { PeerMessage } from './messages.ts';
import type { Configuration, Entry, SnapshotMeta } from './types.ts';

/** `3/1 command 16B`: index, term, type and size of an entry, the members of a configuration not decoded. */
export function describeEntry(entry: Entry): string {
  return `${entry.index}/${entry.term} ${entry.type} ${entry.data.length}B`;
}

/** `[3/1 command 16B, 4/1 …]`, or the first and the last of many. */
export function describeEntries(entries: readonly Entry[]): string {
  const [first] = entries;
  const last = entries.at(-1);
  if (first === undefined || last === undefined) return '[]';
  if (entries.length <= 3) return `[${entries.map(describeEntry).join(', ')}]`;
  return `[${describeEntry(first)} .. ${describeEntry(last)}]`;
}

/** `1 voter, 2 standby`. */
export function describeConfiguration(configuration: Configuration): string {
  return configuration.servers.map(({ id, role }) => `${id} ${role}`).join(', ') || 'nobody';
}

/** `10/2 (1 voter)`: what a snapshot covers. */
export function describeSnapshot(meta: SnapshotMeta): string {
  return `${meta.index}/${meta.term} (${describeConfiguration(meta.configuration)})`;
}

/** One line for a message between servers. */
export function describeMessage(message: PeerMessage): string {
  const head = `${message.kind} term=${message.term}`;
  switch (message.kind) {
    case 'requestVote': {
      const flags = `${message.preVote ? ' pre-vote' : ''}${message.disruptLeader ? ' disrupt' : ''}`;
      return `${head} last=${message.lastIndex}/${message.lastTerm}${flags}`;
    }
    case 'requestVoteResult':
      return `${head} ${message.granted ? 'granted' : 'refused'}${message.preVote ? ' pre-vote' : ''}`;
    case 'appendEntries': {
      const { prevIndex, prevTerm, leaderCommit, round, entries } = message;
      const what = entries.length === 0 ? '' : ` ${describeEntries(entries)}`;
      return `${head} prev=${prevIndex}/${prevTerm} commit=${leaderCommit} round=${round}${what}`;
    }
    case 'appendEntriesResult': {
      const { rejected, lastIndex, round } = message;
      const outcome = rejected === 0 ? 'accepted' : `rejected=${rejected}`;
      return `${head} ${outcome} last=${lastIndex} round=${round}`;
    }
    case 'installSnapshot':
      return `${head} ${describeSnapshot(message.snapshot.meta)}`;
    case 'timeoutNow':
      return `${head} last=${message.lastIndex}/${message.lastTerm}`;
  }
}

/** `2 <- appendEntries …`. */
export function describeOutbound({ to, message }: Outbound): string {
  return `${to.id} <- ${describeMessage(message)}`;
}

/** One line for an event. */
export function describeEvent(event: Event): string {
  switch (event.type) {
    case 'tick':
      return 'tick';
    case 'receive':
      return `receive from ${event.from.id}: ${describeMessage(event.message)}`;
    case 'propose':
      return `propose ${event.proposals.map(({ ticket }) => ticket).join(',')} in term ${event.term}`;
    case 'read':
      return `read ${event.ticket}`;
    case 'change': {
      const { change, ticket } = event;
      const role = change.kind === 'assign' ? ` ${change.role}` : '';
      return `change ${ticket}: ${change.kind} ${change.id}${role}`;
    }
    case 'transfer':
      return `transfer ${event.ticket} to ${event.to ?? 'anyone'}`;
    case 'persisted':
      return `persisted ${event.write}`;
    case 'snapshotTaken':
      return event.meta === undefined
        ? 'snapshot not taken'
        : `snapshot taken ${describeSnapshot(event.meta)}`;
    case 'snapshotShipped':
      return `snapshot ${event.whole ? 'shipped' : 'not shipped'} to ${event.to}`;
    case 'snapshotArriving':
      return `snapshot arriving from ${event.from.id} term=${event.term}`;
    case 'disconnected':
      return `disconnected ${event.peer}`;
    case 'unreachable':
      return `unreachable ${event.peer}`;
  }
}

/** One line for each thing to do, in the order in which it is to be done. */
export function describeEffects(effects: Effects): string[] {
  const lines: string[] = [];
  if (effects.persist !== undefined) lines.push(...describePersist(effects.persist));
  for (const outbound of effects.send) lines.push(`send ${describeOutbound(outbound)}`);
  if (effects.restore !== undefined) {
    lines.push(`restore ${describeSnapshot(effects.restore.meta)}`);
  }
  if (effects.discard !== undefined) {
    lines.push(`discard ${describeSnapshot(effects.discard.meta)}`);
  }
  for (const { entry, ticket } of effects.apply) {
    lines.push(`apply ${describeEntry(entry)}${ticket === undefined ? '' : ` ticket=${ticket}`}`);
  }
  for (const settlement of effects.settle) lines.push(describeSettlement(settlement));
  if (effects.takeSnapshot !== undefined) {
    lines.push(`take snapshot ${describeSnapshot(effects.takeSnapshot)}`);
  }
  if (effects.shipSnapshot !== undefined) {
    const { meta, to } = effects.shipSnapshot;
    lines.push(`ship snapshot ${describeSnapshot(meta)} to ${to.id}`);
  }
  if (effects.transition !== undefined) lines.push(describeTransition(effects.transition));
  if (effects.ignored !== undefined) {
    lines.push(`ignored from ${effects.ignored.from.id}: ${effects.ignored.why}`);
  }
  return lines;
}

function describePersist(persist: Persist): string[] {
  const { vote, snapshot, truncateFrom, append, write } = persist;
  const parts: string[] = [];
  if (vote !== undefined) parts.push(`term=${vote.term} vote=${vote.votedFor ?? 'none'}`);
  if (snapshot !== undefined) parts.push(`snapshot=${describeSnapshot(snapshot.meta)}`);
  if (truncateFrom !== undefined) parts.push(`truncate from ${truncateFrom}`);
  if (append.length > 0) parts.push(`append ${describeEntries(append)}`);
  const what = parts.length === 0 ? 'nothing' : parts.join(', ');
  return [
    `persist ${write}: ${what}`,
    ...persist.then.map((outbound) => `  then send ${describeOutbound(outbound)}`),
  ];
}

function describeSettlement(settlement: Settlement): string {
  const { outcome, ticket } = settlement;
  if (outcome === 'done') return `settle ${ticket}: done at ${settlement.index}`;
  return `settle ${ticket}: refused, ${settlement.why}`;
}

/** One line for a server's place in the cluster. */
export function describeTransition(transition: Transition): string {
  const { state, term, leader, ready, transferring, configuration } = transition;
  const flags = `${ready ? ' ready' : ''}${transferring ? ' transferring' : ''}`;
  const who = leader === undefined ? 'none' : leader.id;
  return `now ${state} term=${term} leader=${who}${flags} members: ${describeConfiguration(configuration)}`;
}
