import { DqliteError } from '../../base/errors.ts';
import { ParameterCursor } from '../../protocol/parameters.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import type { Statement } from '../../sql/engine.ts';
import type { OpenDatabase } from '../open-database.ts';
import type { Session } from '../session.ts';
import { keyOf } from '../statement-cache.ts';
import type { Steps } from '../task.ts';
import { thenGiveBack } from './statements.ts';

/** How long the statements of one text may run before others get their turn. */
const sliceMs = 5;

export function exec(session: Session, request: RequestOf<'exec'>): Steps | undefined {
  if (!session.leading) return execLater(session, request);
  const open = session.databaseForSql(request.database);
  const statement = open.statements.get(request.statement);
  return execOne(session, open, statement, new ParameterCursor(request.parameters));
}

function* execLater(session: Session, request: RequestOf<'exec'>): Steps {
  yield* session.untilLeading();
  const rest = exec(session, request);
  if (rest !== undefined) yield* rest;
}

function execOne(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: ParameterCursor,
): Steps | undefined {
  if (!open.tryBegin(statement)) return execInTurn(session, open, statement, parameters);
  run(open, statement, parameters);
  return reply(session, open);
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
export function execSql(session: Session, request: RequestOf<'execSql'>): Steps | undefined {
  if (!session.leading) return execSqlLater(session, request);
  const open = session.databaseForSql(request.database);
  const text = keyOf(request.sql, session.gateway.limits.maxCachedTextBytes);
  const statement = text === undefined ? undefined : open.texts.take(text);
  if (statement === undefined) return execText(session, open, request, text);
  let rest: Steps | undefined;
  try {
    rest = execOne(session, open, statement, new ParameterCursor(request.parameters));
  } finally {
    if (rest === undefined) open.texts.giveBack(text, statement);
  }
  return rest && thenGiveBack(rest, open, text, statement);
}

function* execSqlLater(session: Session, request: RequestOf<'execSql'>): Steps {
  yield* session.untilLeading();
  const rest = execSql(session, request);
  if (rest !== undefined) yield* rest;
}

function* execText(
  session: Session,
  open: OpenDatabase,
  { sql, parameters }: RequestOf<'execSql'>,
  text: string | undefined,
): Steps {
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
      if (offset === 0 && tail >= sql.length) open.texts.giveBack(text, statement);
      else statement.finalize();
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
