/** What went wrong, to match on. */
export type ClientErrorCode =
  /** The server that was asked does not lead (any more). */
  | 'notLeader'
  /** Leadership was lost while the request was under way. */
  | 'leadershipLost'
  /** Other writers kept the database locked for longer than the server waits. */
  | 'busy'
  /** SQLite, or the server, refused the request: `wire` and the message say why. */
  | 'refused'
  /** The connection broke or could not be made. */
  | 'connection'
  /** No leader was found before the deadline. */
  | 'noLeader'
  /** The deadline passed. */
  | 'timeout'
  /** The caller's signal was aborted. */
  | 'aborted'
  /** The client was closed, or used in a way that it forbids. */
  | 'misuse'
  /** The server sent something that is not this protocol. */
  | 'protocol';

/** Every failure that this client reports. */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: ClientErrorCode;
  /** Code of the FAILURE response (SQLite's extended code, or one of docs/errors.md), if there was one. */
  readonly wire: number | undefined;
  /** The request was certainly not executed, and another attempt may succeed. */
  readonly retryable: boolean;

  constructor(
    code: ClientErrorCode,
    message: string,
    details: { wire?: number; retryable?: boolean; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.wire = details.wire;
    this.retryable = details.retryable ?? (code === 'notLeader' || code === 'noLeader');
  }

  /** The error that a FAILURE response reports. */
  static ofFailure(wire: number, message: string): ClientError {
    const code = codeOfFailure(wire);
    const retryable = code === 'notLeader' || code === 'busy';
    return new ClientError(code, message, { wire, retryable });
  }
}

/** A server that loses leadership forgets the databases and statements of its sessions: code 12 from then on. */
const SQLITE_NOTFOUND = 12;
/** IOERR_NOT_LEADER and IOERR_LEADERSHIP_LOST, today's and those of servers before 1.0. */
const notLeaderCodes = new Set([10250, 8202, SQLITE_NOTFOUND]);
const leadershipLostCodes = new Set([10506, 8458]);
const SQLITE_BUSY = 5;

function codeOfFailure(wire: number): ClientErrorCode {
  if (notLeaderCodes.has(wire)) return 'notLeader';
  if (leadershipLostCodes.has(wire)) return 'leadershipLost';
  return (wire & 0xff) === SQLITE_BUSY ? 'busy' : 'refused';
}
