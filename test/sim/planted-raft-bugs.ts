import type { PlantedBug } from './planted-bug.ts';

/** Mistakes in Raft and its driver. */
export const raftBugs: Readonly<Record<string, PlantedBug>> = {
  'the vote is forgotten at restart': {
    file: 'src/raft/raft.ts',
    patches: [
      {
        find: '      now,\n      vote,\n',
        replace: '      now,\n      vote: { term: vote.term, votedFor: undefined },\n',
      },
    ],
    why: 'a server votes twice in one term',
    within: 100,
  },
  'a vote for one does not exclude another': {
    file: 'src/raft/election.ts',
    patches: [
      {
        find: '    (votedFor === undefined || votedFor === message.candidate) &&\n',
        replace: '',
      },
    ],
    why: 'two leaders in one term',
    within: 60,
  },
  'a vote leaves before it is durable': {
    file: 'src/raft/election.ts',
    patches: [
      {
        find: "  core.outbox.sendDurably(to, { kind: 'requestVoteResult'",
        replace: "  core.outbox.send(to, { kind: 'requestVoteResult'",
      },
    ],
    why: 'a power cut takes a vote that was counted',
    within: 20,
  },
  'the own vote counts before it is durable': {
    file: 'src/raft/election.ts',
    patches: [
      {
        find: '    else outbox.sendDurably(server, message);',
        replace: '    else outbox.send(server, message);',
      },
      { find: 'core.durableWrite >= state.voteWrite', replace: 'core.durableWrite >= 0' },
    ],
    why: 'a candidate wins, crashes, forgets and votes for another',
  },
  'logs are compared by length only': {
    file: 'src/raft/election.ts',
    patches: [
      {
        find: '  if (candidate.lastTerm !== lastTerm) return candidate.lastTerm > lastTerm;\n',
        replace: '  if (candidate.lastTerm < 0) return lastTerm < 0;\n',
      },
    ],
    why: 'a leader without committed entries is elected',
  },
  'votes are granted while a leader is known': {
    file: 'src/raft/election.ts',
    patches: [
      {
        find: 'core.now < after(state.heardAt, core.options.electionTimeoutMs)',
        replace: 'core.now < state.heardAt',
      },
    ],
    why: 'the lease of a leader outlives its leadership',
  },
  'an answer leaves before the entries are durable': {
    file: 'src/raft/following.ts',
    patches: [
      {
        find: "  core.outbox.sendDurably(to, { kind: 'appendEntriesResult'",
        replace: "  core.outbox.send(to, { kind: 'appendEntriesResult'",
      },
    ],
    why: 'the leader counts a copy that a power cut takes',
  },
  'the leader counts itself before its disk does': {
    file: 'src/raft/replication.ts',
    patches: [{ find: 'own: log.durableIndex,', replace: 'own: log.lastIndex,' }],
    why: 'an entry is committed that too few disks hold',
  },
  'an entry of an older term is committed by counting': {
    file: 'src/raft/replication.ts',
    patches: [
      {
        find: 'if (reached <= core.commitIndex || log.termAt(reached as Index) !== currentTerm(core)) return;',
        replace: 'if (reached <= core.commitIndex) return;',
      },
    ],
    why: 'figure 8 of the paper: a committed entry is overwritten',
    within: 60,
  },
  'standbys count in the majority': {
    file: 'src/raft/quorum.ts',
    patches: [
      {
        find: "    if (role !== 'voter') continue;\n",
        replace: "    if (role === 'spare') continue;\n",
      },
    ],
    why: 'what standbys hold need not be in the log of the next leader',
    within: 300,
  },
  'the previous term is not compared': {
    file: 'src/raft/following.ts',
    patches: [
      {
        find: 'log.termAt(prevIndex) !== prevTerm',
        replace: 'log.termAt(prevIndex) === undefined',
      },
    ],
    why: 'logs that differ are continued as if they were the same',
    within: 300,
  },
  'a follower vouches for its whole log': {
    file: 'src/raft/following.ts',
    patches: [
      {
        find: 'const durable = appended ? vouched : (Math.min(vouched, log.durableIndex) as Index);',
        replace: 'const durable = log.lastIndex;',
      },
    ],
    why: 'the tail of a deposed leader is counted as a copy',
  },
  'a follower commits beyond what the leader vouched for': {
    file: 'src/raft/following.ts',
    patches: [
      {
        find: 'Math.min(message.leaderCommit, vouched)',
        replace: 'Math.min(log.lastIndex, message.leaderCommit + 3)',
      },
    ],
    why: 'entries are applied that may still be replaced',
  },
  'a repeated message truncates the log': {
    file: 'src/raft/following.ts',
    patches: [
      {
        find: '(entry) => entry.index > core.commitIndex && log.termAt(entry.index) !== entry.term,',
        replace: '(entry) => entry.index > core.commitIndex,',
      },
    ],
    why: 'an old message takes away entries that were answered for since',
    within: 10,
  },
  'a conflict does not truncate the log': {
    file: 'src/raft/following.ts',
    patches: [{ find: '    outbox.truncate(index);\n', replace: '' }],
    why: 'memory and disk hold different logs',
    within: 200,
  },
  'reads do not wait for the barrier': {
    file: 'src/raft/reads.ts',
    patches: [
      {
        find: '  return core.commitIndex >= leader.barrierIndex;',
        replace: '  return core.commitIndex >= 0 && leader.barrierIndex >= 0;',
      },
      { find: 'core.appliedIndex < leader.barrierIndex ||', replace: '' },
    ],
    why: 'a new leader answers from before its own commit index is known',
  },
  'reads are served without a proof of leadership': {
    file: 'src/raft/reads.ts',
    patches: [
      { find: '    core.now < leader.leaseUntil ||\n', replace: '    core.now > never ||\n' },
    ],
    why: 'a deposed leader that does not know it answers with old values',
  },
  'an older round proves leadership': {
    file: 'src/raft/reads.ts',
    patches: [
      {
        find: 'majorityRound(core, leader) >= reads.round',
        replace: 'majorityRound(core, leader) >= 1',
      },
    ],
    why: 'followers that were there once need not be there now',
  },
  'the lease runs from the answer': {
    file: 'src/raft/progress.ts',
    patches: [{ find: 'this.contactAt = startedAt;', replace: 'this.contactAt = this.heardAt;' }],
    why: 'the follower promised from when the question was sent, not from when its answer came',
  },
  'the lease outlasts the election timeout': {
    file: 'src/raft/reads.ts',
    patches: [
      {
        find: 'electionTimeoutMs - leaseMarginMs',
        replace: 'electionTimeoutMs * 2 + leaseMarginMs',
      },
    ],
    why: 'another leader is elected while reads are served here',
  },
  'the lease holds while leadership is handed over': {
    file: 'src/raft/reads.ts',
    patches: [
      {
        find: '  if (core.appliedIndex < leader.barrierIndex || leader.transfer !== undefined) return false;\n  return leader.looseTimeoutNow === undefined;',
        replace: '  return core.appliedIndex >= leader.barrierIndex;',
      },
    ],
    why: 'the target of a transfer is elected although everybody heard the old leader',
    within: 100,
  },
  'a snapshot carries the wrong term': {
    file: 'src/raft/snapshots.ts',
    patches: [
      {
        find: 'outbox.takeSnapshot({ index: appliedIndex, term, configuration',
        replace:
          'outbox.takeSnapshot({ index: appliedIndex, term: currentTerm(core), configuration',
      },
    ],
    why: 'logs that follow the snapshot do not match it',
  },
  'a snapshot carries the newest configuration': {
    file: 'src/raft/snapshots.ts',
    patches: [
      {
        find: 'log.configurationAt(appliedIndex)',
        replace: 'log.configuration',
      },
    ],
    why: 'a change that was never committed survives in a snapshot',
  },
  'the snapshot is applied twice': {
    file: 'src/raft/raft.ts',
    patches: [
      {
        find: '      commitIndex: log.snapshotIndex,\n      appliedIndex: log.snapshotIndex,\n',
        replace:
          '      commitIndex: log.snapshotIndex,\n      appliedIndex: (log.firstIndex - 1) as Index,\n',
      },
    ],
    why: 'after a restart the machine gets entries that its snapshot holds',
  },
  'a change does not wait for the one before': {
    file: 'src/raft/membership.ts',
    patches: [
      { find: "  if (state.change !== undefined) return 'changeInProgress';\n", replace: '' },
    ],
    why: 'two changes at once make two majorities that do not meet',
    within: 100,
  },
  'a change does not wait for the barrier': {
    file: 'src/raft/membership.ts',
    patches: [
      {
        find: '  if (!knowsCommitted(core, leader)) return;\n',
        replace: '  if (!leader.rounds) return;\n',
      },
    ],
    why: 'changes of two leaders are in force at once',
  },
  'a truncated configuration stays in force': {
    file: 'src/raft/log.ts',
    patches: [
      {
        find: '    this.#configurations = this.#configurations.filter((at) => at.index <= last);\n',
        replace: '',
      },
    ],
    why: 'a server counts votes of a membership that does not exist',
  },
  'a removed leader stays': {
    file: 'src/raft/membership.ts',
    patches: [
      {
        find: 'return !isVoter(core) && core.appliedIndex >= core.log.configuration.index;',
        replace: 'return !isVoter(core) && core.appliedIndex < 0;',
      },
    ],
    why: 'a server that is no member leads the cluster',
  },
  'an answer leaves before its write': {
    file: 'src/raft/driver.ts',
    patches: [
      {
        find: '      await store.persist(write);\n',
        replace:
          '      for (const outbound of write.then) transport.send(outbound);\n      await store.persist(write);\n',
      },
      {
        find: '    if (this.#stopped) return;\n    for (const outbound of write.then) transport.send(outbound);\n',
        replace: '    if (this.#stopped) return;\n',
      },
    ],
    why: 'everything that is said rests on writes that may be lost',
  },
};
