import { DqliteError } from '../../base/errors.ts';
import { ParameterCursor } from '../../protocol/parameters.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import type { Statement } from '../../sql/engine.ts';
import type { OpenDatabase } from '../open-database.ts';
import type { Session } from '../session.ts';
import type { Steps } from '../task.ts';

/** How long the statements of one text may run before others get their turn. */
const sliceMs = 5;

export function exec(session: Session, request: RequestOf<'exec'>): Steps | undefined {
  if (!session.leading) return execLater(session, request);
  const open = session.databaseForSql(request.database);
  const statement = open.statements.get(request.statement);
  const parameters = new ParameterCursor(request.parameters);
  if (!open.tryBegin(statement)) return execInTurn(session, open, statement, parameters);
  run(open, statement, parameters);
  return reply(session, open);
}

function* execLater(session: Session, request: RequestOf<'exec'>): Steps {
  yield* session.untilLeading();
  const steps = exec(session, request);
  if (steps !== undefined) yield* steps;
}

function* execInTurn(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: ParameterCursor,
): Steps {
  yield* open.begin(statement);
  run(open, statement, parameters);
  const rest = reply(session, open);
  if (rest !== undefined) yield* rest;
}

/** All statements of the text in order, each its own transaction; parameters are used up from left to right. */
export function* execSql(
  session: Session,
  { database, sql, parameters }: RequestOf<'execSql'>,
): Steps {
  if (!session.leading) yield* session.untilLeading();
  const open = session.databaseForSql(database);
  const { clock } = session.gateway;
  const cursor = new ParameterCursor(parameters);
  let pauseAt = clock.now() + sliceMs;
  let wrote = false;
  for (let offset = 0; ; ) {
    const { statement, tail } = open.prepare(sql, offset);
    if (statement === undefined) break;
    try {
      if (!open.tryBegin(statement)) yield* open.begin(statement);
      run(open, statement, cursor);
    } catch (error) {
      throw wrote ? inDoubt(error) : error;
    } finally {
      statement.finalize();
    }
    wrote ||= !statement.readOnly;
    offset = tail;
    if (offset >= sql.length) break;
    if (clock.now() < pauseAt) continue;
    yield* session.letOthers('leadershipLost');
    pauseAt = clock.now() + sliceMs;
  }
  const rest = reply(session, open);
  if (rest !== undefined) yield* rest;
}

/** "Not executed" is not the whole truth behind a statement that was: clients repeat what they are told so of. */
function inDoubt(error: unknown): unknown {
  const refused = error instanceof DqliteError && error.code === 'notLeader';
  return refused ? DqliteError.of('leadershipLost') : error;
}

function run(open: OpenDatabase, statement: Statement, parameters: ParameterCursor): void {
  try {
    if (!parameters.bind(statement, statement.parameterCount))
      throw DqliteError.of('bindParameters');
    const undoable = statement.columnCount > 0 && !statement.readOnly;
    if (undoable) open.savepoint.run(() => stepWithoutRows(statement));
    else stepWithoutRows(statement);
  } finally {
    open.end(statement);
  }
}

function stepWithoutRows(statement: Statement): void {
  try {
    if (statement.step()) throw DqliteError.of('rowsYielded');
  } finally {
    statement.reset();
  }
}

/** The connection's figures as they are now, once they are certain. */
function reply(session: Session, open: OpenDatabase): Steps | undefined {
  const lastInsertId = open.connection.lastInsertRowid();
  const rowsAffected = open.connection.changes();
  if (!open.settled) return replySettled(session, open, lastInsertId, rowsAffected);
  session.reply({ kind: 'result', lastInsertId, rowsAffected });
  return undefined;
}

function* replySettled(
  session: Session,
  open: OpenDatabase,
  lastInsertId: bigint,
  rowsAffected: bigint,
): Steps {
  yield* open.untilSettled();
  session.reply({ kind: 'result', lastInsertId, rowsAffected });
}
