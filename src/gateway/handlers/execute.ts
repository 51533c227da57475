import { DqliteError } from '../../base/errors.ts';
import { ParameterCursor } from '../../protocol/parameters.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import type { Statement } from '../../sql/engine.ts';
import type { OpenDatabase } from '../open-database.ts';
import type { Session } from '../session.ts';
import type { Steps } from '../task.ts';

/** How long the statements of one text may run before others get their turn. */
const sliceMs = 5;

export function* exec(session: Session, request: RequestOf<'exec'>): Steps {
  if (!session.leading) yield* session.untilLeading();
  const open = session.databaseForSql(request.database);
  const statement = open.statements.get(request.statement);
  const parameters = new ParameterCursor(request.parameters);
  if (!open.tryBegin(statement)) yield* open.begin(statement);
  run(open, statement, parameters);
  yield* reply(session, open);
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
  for (let offset = 0; ; ) {
    const { statement, tail } = open.prepare(sql, offset);
    if (statement === undefined) break;
    try {
      if (!open.tryBegin(statement)) yield* open.begin(statement);
      run(open, statement, cursor);
    } finally {
      statement.finalize();
    }
    offset = tail;
    if (offset >= sql.length) break;
    if (clock.now() < pauseAt) continue;
    yield* session.letOthers('leadershipLost');
    pauseAt = clock.now() + sliceMs;
  }
  yield* reply(session, open);
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
function* reply(session: Session, open: OpenDatabase): Steps {
  const lastInsertId = open.connection.lastInsertRowid();
  const rowsAffected = open.connection.changes();
  if (!open.settled) yield* open.untilSettled();
  session.reply({ kind: 'result', lastInsertId, rowsAffected });
}
