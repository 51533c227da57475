/**
 * The bytes are not a message of this protocol. The connection they came on is closed, nothing else
 * (docs/wire-protocol.md, "Malformed input").
 */
export class WireError extends Error {
  override readonly name = 'WireError';
  readonly code = 'DQL_WIRE';
}

interface ErrorRow {
  /** Code of the FAILURE response: an SQLite result code or one of dqlite's own. */
  readonly wire: number;
  /** Text of the FAILURE response. */
  readonly message: string;
  /** When it is answered: printed into docs/errors.md. */
  readonly doc: string;
}

/**
 * Every failure of our own that a client can be told. SQLite's own code and message pass through unchanged
 * and are not listed.
 */
export const errorTable = {
  notLeader: {
    wire: 10250,
    message: 'not leader',
    doc: 'This node does not lead. The request was certainly not executed: send it to the leader.',
  },
  leadershipLost: {
    wire: 10506,
    message: 'leadership lost',
    doc: 'Leadership was lost before the transaction was known to be committed. It may or may not survive: read before writing again.',
  },
  busy: {
    wire: 5,
    message: 'database is locked',
    doc: 'Other writers held the database for longer than --busy-timeout. Nothing was executed: try again.',
  },
  diskFull: {
    wire: 13,
    message: 'no space left on the disk of the leader',
    doc: 'Writes are refused until there is space on the disk of the leader; reads go on. Nothing was executed: make space, then try again.',
  },
  noDatabase: {
    wire: 12,
    message: 'no database opened',
    doc: 'The request names a database that this connection has not opened (or lost with leadership): send OPEN first.',
  },
  noStatement: {
    wire: 12,
    message: 'no statement with the given id',
    doc: 'The statement id was never given out on this connection, or it was finalized.',
  },
  alreadyOpen: {
    wire: 5,
    message: 'a database for this connection is already open',
    doc: 'A connection opens one database, once.',
  },
  emptyStatement: {
    wire: 0,
    message: 'empty statement',
    doc: 'The SQL text holds only blanks and comments.',
  },
  statementTail: {
    wire: 1,
    message: 'nonempty statement tail',
    doc: 'More than one statement where only one is allowed.',
  },
  rowsYielded: {
    wire: 1,
    message: 'rows yielded when none expected for EXEC request',
    doc: 'EXEC and EXEC_SQL take statements without rows: use QUERY.',
  },
  bindParameters: {
    wire: 1,
    message: 'bind parameters',
    doc: 'The parameters of an EXEC could not be decoded.',
  },
  executeFailed: {
    wire: 10,
    message: 'leader exec failed',
    doc: 'Surplus or undecodable parameters of a QUERY, or a failure inside the server.',
  },
  badDatabaseName: {
    wire: 14,
    message: 'a database needs a name other than "" and ":memory:"',
    doc: 'OPEN with a name that cannot be replicated.',
  },
  tooManyDatabases: {
    wire: 14,
    message: 'too many databases on this server',
    doc: 'OPEN of a new database beyond the limit of databases.',
  },
  tooManyStatements: {
    wire: 7,
    message: 'too many prepared statements on this connection',
    doc: 'PREPARE beyond --max-statements: finalize statements that are not needed any more.',
  },
  transactionExpired: {
    wire: 516,
    message: 'transaction rolled back because it was idle for too long',
    doc: 'The first request after an open transaction idled longer than --idle-transaction-timeout. The request was not executed; no transaction is open.',
  },
  queryStalled: {
    wire: 9,
    message: 'query abandoned because its rows were not read for too long',
    doc: 'The client stopped reading in the middle of a query, which kept old pages in memory.',
  },
  returningTooLarge: {
    wire: 18,
    message: 'the rows of RETURNING are too large: nothing was changed',
    doc: 'Rows of a writing statement are held back until it is committed, up to a limit.',
  },
  engineRestarted: {
    wire: 10,
    message: 'the SQL engine was restarted: open the database again',
    doc: 'A failure inside SQLite. Open transactions were rolled back; committed data is not affected.',
  },
  stateMachineStopped: {
    wire: 10,
    message: 'this server cannot apply its log any more',
    doc: 'A committed log entry could not be decoded: this server has stopped serving and its log says why.',
  },
  interrupted: {
    wire: 9,
    message: 'interrupted',
    doc: 'The statement ran longer than --statement-timeout, or its rows were cut off by a loss of leadership.',
  },
  unrecognizedType: {
    wire: 1005,
    message: 'unrecognized request type',
    doc: 'The request type is not one of the protocol.',
  },
  unrecognizedSchema: {
    wire: 1005,
    message: 'unrecognized schema version',
    doc: 'The request type has no such schema.',
  },
  unrecognizedSqlSchema: {
    wire: 1,
    message: 'unrecognized schema version',
    doc: 'The same, for PREPARE, EXEC, QUERY, EXEC_SQL and QUERY_SQL.',
  },
  unrecognizedFormat: {
    wire: 1005,
    message: 'unrecognized cluster format',
    doc: 'CLUSTER knows the formats 0 and 1.',
  },
  badFormatVersion: {
    wire: 15,
    message: 'bad format version',
    doc: 'DESCRIBE knows the format 0.',
  },
  databaseNotFound: {
    wire: 1002,
    message: 'database does not exists',
    doc: 'DUMP of a database that this node does not have.',
  },
  changeInProgress: {
    wire: 5,
    message: 'a configuration change is already in progress',
    doc: 'One membership change at a time.',
  },
  serverNotLeader: {
    wire: 10250,
    message: 'server is not the leader',
    doc: 'A membership request during a leadership transfer.',
  },
  serverLeadershipLost: {
    wire: 10506,
    message: 'server has lost leadership',
    doc: 'Leadership was lost while a membership change was under way.',
  },
  badServerId: {
    wire: 1,
    message: 'server ID is not valid',
    doc: 'No server has this id, or it cannot be the target of this request.',
  },
  duplicateServerId: {
    wire: 1,
    message: 'server ID already in use',
    doc: 'ADD with the id of a member.',
  },
  duplicateServerAddress: {
    wire: 1,
    message: 'server address already in use',
    doc: 'ADD with the address of a member.',
  },
  badServerRole: {
    wire: 1,
    message: 'server role is not valid',
    doc: 'ASSIGN of a role that does not exist or that the server already has.',
  },
  serverNotFound: {
    wire: 1,
    message: 'Resource not found',
    doc: 'ASSIGN to an unknown server, or TRANSFER without a voter to transfer to.',
  },
  noConnection: {
    wire: 1,
    message: 'no connection to remote server available',
    doc: 'A server could not be promoted because it did not catch up in time.',
  },
  transferFailed: {
    wire: 1,
    message: 'leadership transfer failed',
    doc: 'The target did not take over within one election timeout.',
  },
  lastVoter: {
    wire: 1,
    message:
      'the only voter can be neither removed nor demoted: add or promote another voter first',
    doc: 'REMOVE or ASSIGN that would leave the cluster without a voter.',
  },
} as const satisfies Record<string, ErrorRow>;

/** The table as Markdown, for docs/errors.md. */
export function describeErrors(): string {
  const lines = Object.entries<ErrorRow>(errorTable).map(
    ([name, { wire, message, doc }]) => `| \`${name}\` | ${wire} | ${message} | ${doc} |`,
  );
  return ['| name | code | text | when, and what to do |', '|---|---|---|---|', ...lines].join(
    '\n',
  );
}

/** Names one row of the error table: match on this, never on the text. */
export type ErrorName = keyof typeof errorTable;

/** An expected failure that a client is told in a FAILURE response. */
export class DqliteError extends Error {
  override readonly name = 'DqliteError';
  /** Row of the error table, or 'sqlite' when code and text are SQLite's own. */
  readonly code: ErrorName | 'sqlite';
  /** Code of the FAILURE response. */
  readonly wire: number;

  private constructor(code: ErrorName | 'sqlite', wire: number, message: string) {
    super(message);
    this.code = code;
    this.wire = wire;
  }

  /** The failure that row `name` of the table describes. */
  static of(name: ErrorName): DqliteError {
    const { wire, message } = errorTable[name];
    return new DqliteError(name, wire, message);
  }

  /** A failure of SQLite, with its extended result code and its message. */
  static fromSqlite(extendedCode: number, message: string): DqliteError {
    return new DqliteError('sqlite', extendedCode, message);
  }
}

/** A user's mistake on the command line or in a file: one sentence with the next step, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
