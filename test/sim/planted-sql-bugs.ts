import type { PlantedBug } from './planted-bug.ts';

/** Mistakes between the log and the clients. */
export const sqlBugs: Readonly<Record<string, PlantedBug>> = {
  'an answer leaves before its transaction is committed': {
    file: 'src/gateway/handlers/execute.ts',
    patches: [
      {
        find: '  if (!open.settled) return replySettled(session, open, lastInsertId, rowsAffected);\n',
        replace: '',
      },
    ],
    why: 'a client is told of a write that is lost with the leadership',
    step: 10,
    within: 40,
  },
  'rows leave before what they show is committed': {
    file: 'src/gateway/handlers/query.ts',
    patches: [
      {
        find: '    if (!open.settled) rest = readOn(session, open, { statement, reader }, rows, more);\n    else if (writeBatch',
        replace: '    if (writeBatch',
      },
    ],
    why: 'a client reads in a transaction what is lost with the leadership',
    step: 10,
  },
  'the gateway reads without a proof of leadership': {
    file: 'src/gateway/open-database.ts',
    patches: [
      {
        find: "    yield* this.#task.pause((task) => leadershipCheck.wait(task), 'notLeader');\n",
        replace:
          "    if (leadershipCheck === undefined) yield* this.#task.pause((task) => leadershipCheck, 'notLeader');\n",
      },
    ],
    why: 'a deposed leader answers with old rows',
    step: 10,
  },
  'a round under way proves leadership to those who came later': {
    file: 'src/gateway/leadership-check.ts',
    patches: [
      {
        find: '    this.#next.add(wait);\n',
        replace: '    (this.#asked ?? this.#next).add(wait);\n',
      },
    ],
    why: 'a read begun after the leader was deposed takes the proof of one begun before',
  },
  'a change counter is used twice': {
    file: 'src/vfs/change-counter.ts',
    patches: [{ find: '(this.#last + 1) >>> 0', replace: '(this.#last + 1) & 3' }],
    why: 'a connection takes the pages that it has cached for those of now',
    step: 10,
    within: 20,
  },
  'SQL is served before the snapshot is restored': {
    file: 'src/sql/state-machine.ts',
    patches: [{ find: '    if (this.#held !== undefined) return undefined;\n', replace: '' }],
    why: 'a server that is elected while it restores answers from half a database',
    step: 10,
  },
  'a snapshot does not wait for the one before': {
    file: 'src/sql/state-machine.ts',
    patches: [
      {
        find: 'this.#restored.then(() => this.#restoreNow(snapshot, held))',
        replace: 'this.#restoreNow(snapshot, held)',
      },
    ],
    why: 'two snapshots are written over the same databases at once',
    step: 10,
  },
};
