import { assert } from '../../base/assert.ts';
import { DqliteError, errorTable } from '../../base/errors.ts';
import { ParameterCursor, type Parameters } from '../../protocol/parameters.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import { RowWriter } from '../../protocol/row-writer.ts';
import { Writer } from '../../protocol/words.ts';
import type { Statement } from '../../sql/engine.ts';
import type { OpenDatabase } from '../open-database.ts';
import type { Reader } from '../readers.ts';
import type { Session } from '../session.ts';
import { keyOf } from '../statement-cache.ts';
import type { Steps } from '../task.ts';
import { compileOnly, thenGiveBack } from './statements.ts';

/** Rows are sent, and others get their turn, whenever this much was written. */
const sliceBytes = 16 * 1024;

export function query(session: Session, request: RequestOf<'query'>): Steps | undefined {
  if (!session.leading) return later(session, () => query(session, request));
  const open = session.databaseForSql(request.database);
  const statement = open.statements.get(request.statement);
  const text = open.statements.sharedText(request.statement);
  const reader = open.takeReader(text);
  if (reader !== undefined) return runShared(session, open, reader, request);
  return run(session, open, statement, request.parameters);
}

export function querySql(session: Session, request: RequestOf<'querySql'>): Steps | undefined {
  if (!session.leading) return later(session, () => querySql(session, request));
  const open = session.databaseForSql(request.database);
  const { sql, parameters } = request;
  const { texts } = open;
  const text = keyOf(sql, session.gateway.limits.maxCachedTextBytes);
  const reader = open.takeReader(text);
  if (reader !== undefined) return runShared(session, open, reader, request);
  const kept = text === undefined ? undefined : texts.take(text);
  const statement = kept ?? compileOnly(open, sql).statement;
  let rest: Steps | undefined;
  try {
    rest = run(session, open, statement, parameters);
  } finally {
    if (rest === undefined) texts.giveBack(text, statement);
  }
  return rest && thenGiveBack(rest, open, text, statement);
}

type QueryRequest = RequestOf<'query'> | RequestOf<'querySql'>;

function handle(session: Session, request: QueryRequest): Steps | undefined {
  return request.kind === 'query' ? query(session, request) : querySql(session, request);
}

/** Runs a plain read on the reader that was taken for it. */
function runShared(
  session: Session,
  open: OpenDatabase,
  reader: Reader,
  request: QueryRequest,
): Steps | undefined {
  const { statement } = reader;
  assert(statement !== undefined, 'a reader that was taken has a statement');
  let begun = false;
  try {
    begun = open.tryBegin(statement);
  } finally {
    if (!begun) open.endShared(reader);
  }
  if (!begun) return runSharedInTurn(session, open, request);
  const rest = read(session, open, statement, request.parameters, reader);
  // It is known by now that no reader runs it.
  return rest === 'elsewhere' ? handle(session, request) : rest;
}

/** A reader is not kept while its user waits. */
function* runSharedInTurn(session: Session, open: OpenDatabase, request: QueryRequest): Steps {
  yield* open.begin(plainRead);
  const rest = handle(session, request);
  if (rest !== undefined) yield* rest;
}

const plainRead = { readOnly: true, columnCount: 1 } as const;

function* later(session: Session, begin: () => Steps | undefined): Steps {
  yield* session.untilLeading();
  const rest = begin();
  if (rest !== undefined) yield* rest;
}

function run(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: Parameters,
): Steps | undefined {
  if (!open.tryBegin(statement)) return runInTurn(session, open, statement, parameters);
  return runNow(session, open, statement, parameters);
}

function* runInTurn(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: Parameters,
): Steps {
  yield* open.begin(statement);
  const rest = runNow(session, open, statement, parameters);
  if (rest !== undefined) yield* rest;
}

function runNow(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: Parameters,
): Steps | undefined {
  if (statement.readOnly && statement.columnCount > 0) {
    const rest = read(session, open, statement, parameters, undefined);
    assert(rest !== 'elsewhere', 'only readers refuse a statement');
    return rest;
  }
  const rows = collectRows(session, open, statement, parameters);
  if (!open.settled) return answerSettled(session, open, rows);
  answer(session, rows);
  return undefined;
}

/**
 * Answers with the rows of a statement that only reads: at once if one message holds them. `elsewhere`: nothing was
 * answered, since it must not run on the reader that it was to run on.
 */
function read(
  session: Session,
  open: OpenDatabase,
  statement: Statement,
  parameters: Parameters,
  reader: Reader | undefined,
): Steps | undefined | 'elsewhere' {
  let rest: Steps | undefined;
  try {
    bind(statement, parameters);
    // The first step pins the snapshot, and may find that the schema, so the columns, have changed.
    const more = reader === undefined ? statement.step() : reader.begin(statement);
    if (more === undefined) return 'elsewhere';
    const rows = new RowWriter(session.writer, statement);
    if (!open.settled) rest = readOn(session, open, { statement, reader }, rows, more);
    else if (writeBatch(rows, more, open) === 'part') {
      rest = readOn(session, open, { statement, reader }, rows, undefined);
    }
  } catch (error) {
    // Its client does not want to hear of it any more: the answer to the INTERRUPT follows.
    if (!(session.interrupted && isInterrupt(error))) throw error;
  } finally {
    if (rest === undefined) end(open, statement, reader);
  }
  return rest;
}

function end(open: OpenDatabase, statement: Statement, reader: Reader | undefined): void {
  if (reader === undefined) open.end(statement);
  else open.endShared(reader);
}

/** A statement under way, and the reader on which it is, if it is on one. */
interface Reading {
  readonly statement: Statement;
  readonly reader: Reader | undefined;
}

/** The rest of such an answer. `more`: nothing is written yet, and the statement stands on a row or has none. */
function* readOn(
  session: Session,
  open: OpenDatabase,
  { statement, reader }: Reading,
  rows: RowWriter,
  more: boolean | undefined,
): Steps {
  try {
    if (more !== undefined) {
      yield* open.untilSettled();
      if (writeBatch(rows, more, open) === 'done') return;
    }
    yield* rowsBehind(session, open, rows, reader);
  } catch (error) {
    if (!(session.interrupted && isInterrupt(error))) throw error;
  } finally {
    end(open, statement, reader);
  }
}

function* answerSettled(session: Session, open: OpenDatabase, rows: Buffer | undefined): Steps {
  yield* open.untilSettled();
  answer(session, rows);
}

function answer(session: Session, rows: Buffer | undefined): void {
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

/**
 * Sends the rows behind the first message while the statement makes them: the snapshot that it reads stays the same
 * all the while.
 */
function* rowsBehind(
  session: Session,
  open: OpenDatabase,
  rows: RowWriter,
  reader: Reader | undefined,
): Steps {
  let end: 'part' | 'done' = 'part';
  while (end === 'part') {
    if (session.writer.length >= sliceBytes) {
      if (reader !== undefined) reader.paused = true;
      yield* session.betweenBatches('interrupted');
      if (session.interrupted) return;
      open.restartDeadline();
    }
    end = writeBatch(rows, undefined, open);
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
      return open.savepoint.run(() => heldRows(open, statement, maxReturningBytes));
    }
    statement.step();
    return undefined;
  } finally {
    open.end(statement);
  }
}

function heldRows(open: OpenDatabase, statement: Statement, maxBytes: number): Buffer {
  const held = new Writer();
  try {
    const more = statement.step();
    const rows = new RowWriter(held, statement);
    let end = writeBatch(rows, more, open);
    while (end === 'part') {
      if (held.length > maxBytes) throw DqliteError.of('returningTooLarge');
      end = writeBatch(rows, undefined, open);
    }
    return held.takeBytes();
  } finally {
    statement.reset();
  }
}

/** Writes one message. `more`: whether the statement stands on a row; undefined: it has to be stepped. */
function writeBatch(
  rows: RowWriter,
  more: boolean | undefined,
  open: OpenDatabase,
): 'part' | 'done' {
  rows.begin();
  let end: 'part' | 'done' = 'done';
  try {
    if (more !== false) end = rows.rows(more === true);
  } catch (error) {
    rows.discard();
    throw error;
  }
  open.rowsSent += rows.rowCount;
  rows.end(end);
  return end;
}
