import { DqliteError, errorTable } from '../../base/errors.ts';
import { ParameterCursor, type Parameters } from '../../protocol/parameters.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import { RowWriter } from '../../protocol/row-writer.ts';
import { Writer } from '../../protocol/words.ts';
import type { Statement } from '../../sql/engine.ts';
import type { OpenDatabase } from '../open-database.ts';
import type { Session } from '../session.ts';
import type { Steps } from '../task.ts';
import { compileOnly } from './statements.ts';

/** Rows are sent, and others get their turn, whenever this much was written. */
const sliceBytes = 16 * 1024;

export function* query(session: Session, request: RequestOf<'query'>): Steps {
  if (!session.leading) yield* session.untilLeading();
  const open = session.databaseForSql(request.database);
  const statement = open.statements.get(request.statement);
  yield* run(session, open, statement, request.parameters);
}

export function* querySql(session: Session, request: RequestOf<'querySql'>): Steps {
  if (!session.leading) yield* session.untilLeading();
  const open = session.databaseForSql(request.database);
  const { statement } = compileOnly(open, request.sql);
  try {
    yield* run(session, open, statement, request.parameters);
  } finally {
    statement.finalize();
  }
}

function* run(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: Parameters,
): Steps {
  if (!open.tryBegin(statement)) yield* open.begin(statement);
  if (statement.readOnly && statement.columnCount > 0) {
    try {
      bind(statement, parameters);
      yield* streamRows(session, open, statement);
    } catch (error) {
      // Its client does not want to hear of it any more: the answer to the INTERRUPT follows.
      if (!(session.interrupted && isInterrupt(error))) throw error;
    } finally {
      open.end(statement);
    }
    return;
  }
  const rows = collectRows(session, open, statement, parameters);
  if (!open.settled) yield* open.untilSettled();
  if (rows === undefined) session.reply({ kind: 'rows', batch: noRows });
  else session.send(rows);
}

function isInterrupt(error: unknown): boolean {
  return error instanceof DqliteError && error.wire === errorTable.interrupted.wire;
}

const noRows = { columns: [], rows: [], done: true } as const;

function bind(statement: Statement, parameters: Parameters): void {
  const cursor = new ParameterCursor(parameters);
  const { parameterCount } = statement;
  if (cursor.remaining > parameterCount || !cursor.bind(statement, parameterCount)) {
    throw DqliteError.of('executeFailed');
  }
}

/** Sends rows while the statement makes them: the snapshot that it reads stays the same all the while. */
function* streamRows(session: Session, open: OpenDatabase, statement: Statement): Steps {
  // The first step pins the snapshot, and may find that the schema, so the columns, have changed.
  const more = statement.step();
  if (!open.settled) yield* open.untilSettled();
  const rows = new RowWriter(session.writer, statement);
  let end = writeBatch(rows, statement, more);
  while (end === 'part') {
    if (session.writer.length >= sliceBytes) {
      yield* session.betweenBatches('interrupted');
      if (session.interrupted) return;
      open.restartDeadline();
    }
    end = writeBatch(rows, statement, undefined);
  }
}

/**
 * Runs a statement that may write to its end. Its rows are nothing yet: they are held until it is committed.
 * Undefined: it has no columns.
 */
function collectRows(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: Parameters,
): Buffer | undefined {
  try {
    bind(statement, parameters);
    if (statement.columnCount > 0) {
      const { maxReturningBytes } = session.gateway.limits;
      return open.savepoint.run(() => heldRows(statement, maxReturningBytes));
    }
    statement.step();
    return undefined;
  } finally {
    open.end(statement);
  }
}

function heldRows(statement: Statement, maxBytes: number): Buffer {
  const held = new Writer();
  try {
    const more = statement.step();
    const rows = new RowWriter(held, statement);
    let end = writeBatch(rows, statement, more);
    while (end === 'part') {
      if (held.length > maxBytes) throw DqliteError.of('returningTooLarge');
      end = writeBatch(rows, statement, undefined);
    }
    return held.takeBytes();
  } finally {
    statement.reset();
  }
}

/** Writes one message. `more`: whether the statement stands on a row; undefined: it has to be stepped. */
function writeBatch(
  rows: RowWriter,
  statement: Statement,
  more: boolean | undefined,
): 'part' | 'done' {
  rows.begin();
  try {
    let row = more ?? statement.step();
    while (row) {
      rows.row();
      if (rows.full) {
        rows.end('part');
        return 'part';
      }
      row = statement.step();
    }
  } catch (error) {
    rows.discard();
    throw error;
  }
  rows.end('done');
  return 'done';
}
