import type { Comparison } from './replay.ts';

/**
 * A response of the recorded server that this one answers differently on purpose. The only list: the replay accepts
 * exactly these, and docs/compatibility.md prints them.
 */
export interface IntendedDifference {
  /** Recording, its case, and the connection where several cases share a name. */
  readonly file: string;
  readonly case: string;
  readonly connection?: string;
  /** The recorded answer, where several of one connection share a name. */
  readonly recorded?: string;
  /** What this server answers, as `describeResponse` writes it. */
  readonly ours: string;
  /** Key of `reasons`. */
  readonly why: keyof typeof reasons;
}

/** Why an answer differs: each reason is one paragraph of docs/compatibility.md. */
export const reasons = {
  cleanFailure:
    'A query that fails while it runs is told with its own code and text; nothing of the rows precedes them.',
  busyIsBusy: 'A write that waited too long for its turn says so, by whichever request it came.',
  endOfMessage:
    'A message of no words can never be followed by another one: the connection is closed.',
  noAnonymousDatabase:
    'A database has a name and is replicated; an empty name and ":memory:" are refused when they are opened.',
  currentColumns:
    'A prepared query that runs after the schema changed answers with its present columns at once, not from its second run on.',
  freedStatement: 'A statement id that was freed is an unknown id.',
  nativeType:
    'A value that its column type has no wire form for travels with the type of its storage class.',
  oneAnswer: 'A request has one answer and the connection goes on.',
  rolledBack:
    'A refused statement leaves nothing behind: the next write finds the write lock free.',
  earlyStepDown:
    'A leader that lost its quorum steps down within one election timeout (the recorded one: up to two): before a transfer to the dead server is given up.',
  checkedMembership: 'A membership request that cannot be carried out is refused with its reason.',
} as const;

const cleanFailures: readonly IntendedDifference[] = [
  {
    file: '04-batches',
    case: 'error after first batch',
    ours: 'FAILURE 1 "integer overflow"',
    why: 'cleanFailure',
  },
  {
    file: '04-batches',
    case: 'error in first batch',
    ours: 'FAILURE 1 "integer overflow"',
    why: 'cleanFailure',
  },
  {
    file: '05-errors',
    case: 'query constraint failure (0 columns)',
    ours: 'FAILURE 2067 "UNIQUE constraint failed: ch.u"',
    why: 'cleanFailure',
  },
  {
    file: '05-errors',
    case: 'query constraint failure (1 column)',
    ours: 'FAILURE 2067 "UNIQUE constraint failed: ch.u"',
    why: 'cleanFailure',
  },
  {
    file: '05-errors',
    case: "denied: VACUUM INTO 'x'",
    ours: 'FAILURE 23 "authorization denied"',
    why: 'cleanFailure',
  },
  {
    file: '07-busy-tx',
    case: 'query after DROP',
    ours: 'FAILURE 1 "no such table: sc"',
    why: 'cleanFailure',
  },
];

const sessions: readonly IntendedDifference[] = [
  {
    file: '07-busy-tx',
    case: 'B QUERY_SQL write while A holds the lock',
    ours: 'FAILURE 5 "database is locked"',
    why: 'busyIsBusy',
  },
  {
    file: '07-busy-tx',
    case: 'first run after ALTER',
    ours: 'ROWS ["a","b"] (1:1, 1:5) done',
    why: 'currentColumns',
  },
  { file: '06-framing', case: 'words=0', ours: 'connection closed', why: 'endOfMessage' },
  {
    file: '11-crashes',
    case: 'open :memory:',
    ours: 'FAILURE 14 "a database needs a name other than \\"\\" and \\":memory:\\""',
    why: 'noAnonymousDatabase',
  },
  {
    file: '11-crashes',
    case: 'exec',
    connection: 'c1',
    ours: 'FAILURE 12 "no database opened"',
    why: 'noAnonymousDatabase',
  },
  {
    file: '11-crashes',
    case: 'open empty name',
    ours: 'FAILURE 14 "a database needs a name other than \\"\\" and \\":memory:\\""',
    why: 'noAnonymousDatabase',
  },
  {
    file: '11-crashes',
    case: 'query',
    connection: 'c2',
    ours: 'FAILURE 12 "no database opened"',
    why: 'noAnonymousDatabase',
  },
  {
    file: '11-crashes',
    case: 'query freed statement id',
    ours: 'FAILURE 12 "no statement with the given id"',
    why: 'freedStatement',
  },
  {
    file: '11-crashes',
    case: 'double finalize',
    ours: 'FAILURE 12 "no statement with the given id"',
    why: 'freedStatement',
  },
  ...(
    [
      ['c5', 'ROWS ["v"] (3:yes) done'],
      ['c6', 'ROWS ["v"] (2:1.5) done'],
      ['c7', 'ROWS ["v"] (2:1.5) done'],
      ['c8', 'ROWS ["v"] (4:x\'01\') done'],
    ] as const
  ).map(([connection, ours]) => ({
    file: '11-crashes',
    case: 'select',
    connection,
    ours,
    why: 'nativeType' as const,
  })),
  { file: '11-crashes', case: 'next write', ours: 'RESULT 1 1', why: 'rolledBack' },
];

const membership: readonly IntendedDifference[] = [
  {
    file: '11-crashes',
    case: 'add id 0',
    ours: 'FAILURE 1 "server ID is not valid"',
    why: 'checkedMembership',
  },
  {
    file: '11-crashes',
    case: 'remove sole voter',
    ours: 'FAILURE 1 "the only voter can be neither removed nor demoted: add or promote another voter first"',
    why: 'checkedMembership',
  },
  {
    file: '11-crashes',
    case: 'assign unknown role 9 to sole voter',
    ours: 'FAILURE 1 "server role is not valid"',
    why: 'checkedMembership',
  },
];

const severalServers: readonly IntendedDifference[] = [
  { file: '08-cluster', case: 'transfer to dead node', ours: 'EMPTY 0', why: 'earlyStepDown' },
  {
    file: '08-cluster',
    case: 'write without quorum',
    ours: 'FAILURE 10250 "not leader"',
    why: 'earlyStepDown',
  },
  ...(
    [
      ['conn3', 'FAILURE 0 "\\u0013\\b"', 'FAILURE 2067 "UNIQUE constraint failed: t.a"'],
      ['conn4', 'FAILURE 0 "\\u0013\\b"', 'FAILURE 2067 "UNIQUE constraint failed: t.a"'],
      ['conn5', 'FAILURE 0 "\\u0013\\b"', 'FAILURE 2067 "UNIQUE constraint failed: t.a"'],
      ['conn6', 'FAILURE 1 "id"', 'FAILURE 2067 "UNIQUE constraint failed: t.a"'],
      ['conn6', 'FAILURE 1 "q"', 'FAILURE 1 "integer overflow"'],
    ] as const
  ).map(([connection, recorded, ours]) => ({
    file: '22-go-dqlite-v3-redirect',
    case: 'QUERY_SQL',
    connection: `to-node3 ${connection}`,
    recorded,
    ours,
    why: 'cleanFailure' as const,
  })),
];

export const intendedDifferences: readonly IntendedDifference[] = [
  ...cleanFailures,
  ...sessions,
  ...membership,
  ...severalServers,
];

/** The row that explains why `comparison` of `file` is not equal; undefined when nothing does. */
export function intended(file: string, comparison: Comparison): IntendedDifference | undefined {
  return intendedDifferences.find(
    (row) =>
      row.file === file &&
      row.case === comparison.case &&
      (row.connection === undefined || row.connection === comparison.connection) &&
      (row.recorded === undefined || row.recorded === comparison.recorded) &&
      row.ours === comparison.actual,
  );
}

/** The markdown tables of docs/compatibility.md. `recorded` gives the recorded server's answer for a row. */
export function differencesTable(recorded: (row: IntendedDifference) => string): string {
  const used = Object.entries(reasons).filter(([why]) =>
    intendedDifferences.some((row) => row.why === why),
  );
  return used
    .map(([why, text]) => {
      const rows = intendedDifferences
        .filter((row) => row.why === why)
        .map((row) => {
          const cells = [
            `${row.file.slice(0, 2)}: ${row.case}`,
            row.recorded ?? recorded(row),
            row.ours,
          ];
          return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
        });
      const head = [`**${text}**`, '', '| case | recorded | here |', '|---|---|---|'];
      return [...head, ...new Set(rows)].join('\n');
    })
    .join('\n\n');
}
