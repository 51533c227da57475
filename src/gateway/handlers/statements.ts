import { DqliteError } from '../../base/errors.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import type { Connection, Prepared, Statement } from '../../sql/engine.ts';
import type { OpenDatabase } from '../open-database.ts';
import { isPlainRead, mayBePlainRead } from '../readers.ts';
import type { Session } from '../session.ts';
import { keyOf } from '../statement-cache.ts';
import type { Steps } from '../task.ts';

export function* prepare(session: Session, request: RequestOf<'prepare'>): Steps {
  if (!session.leading) yield* session.untilLeading();
  const open = session.databaseForSql(request.database);
  if (open.statements.full) throw DqliteError.of('tooManyStatements');
  open.catchUp();
  const compiler = open.connection;
  const prepared =
    request.schema === 0 ? compileOnly(compiler, request.sql) : compileFirst(compiler, request.sql);
  const { parameterCount } = prepared.statement;
  const { maxCachedTextBytes } = session.gateway.limits;
  const sharedText = sharedTextOf(request.sql, prepared, maxCachedTextBytes);
  const statement = open.statements.add(prepared.statement, sharedText);
  // The schema it was compiled against may be the work of a transaction that is not committed yet.
  if (!open.settled) yield* open.untilSettled();
  const reply = { database: 0, statement, parameterCount };
  if (request.schema === 0) session.reply({ kind: 'statement', ...reply });
  else session.reply({ kind: 'statementWithTail', ...reply, tail: prepared.tail });
}

export function finalize(session: Session, request: RequestOf<'finalize'>): undefined {
  session.database(request.database).statements.finalize(request.statement);
  session.reply({ kind: 'empty', unused: 0n });
}

/** A statement that is there. */
type Compiled = Prepared & { readonly statement: Statement };

type Compiler = Pick<Connection, 'prepare'>;

/** The first statement of a text. @throws DqliteError `emptyStatement`, or SQLite's */
function compileFirst(compiler: Compiler, sql: Uint8Array): Compiled {
  const { statement, tail } = compiler.prepare(sql);
  if (statement === undefined) throw DqliteError.of('emptyStatement');
  return { statement, tail };
}

/** The text by which a reader may run it. Undefined: it may not. */
function sharedTextOf(sql: Uint8Array, compiled: Compiled, maxBytes: number): string | undefined {
  if (!isPlainRead(compiled.statement)) return undefined;
  const text = keyOf(sql.subarray(0, compiled.tail), maxBytes);
  return text !== undefined && mayBePlainRead(text) ? text : undefined;
}

/** The only statement of a text. @throws DqliteError `emptyStatement`, `statementTail`, or SQLite's */
export function compileOnly(compiler: Compiler, sql: Uint8Array): Compiled {
  const compiled = compileFirst(compiler, sql);
  if (!hasStatement(compiler, sql, compiled.tail)) return compiled;
  compiled.statement.finalize();
  throw DqliteError.of('statementTail');
}

/** Whether anything but blanks and comments comes from `offset` on, be it valid or not. */
function hasStatement(compiler: Compiler, sql: Uint8Array, offset: number): boolean {
  if (offset >= sql.length) return false;
  try {
    const { statement } = compiler.prepare(sql, offset);
    statement?.finalize();
    return statement !== undefined;
  } catch (error) {
    if (error instanceof DqliteError) return true;
    throw error;
  }
}

/** The rest of a request, behind which its statement, which is all of `text`, is kept for the next one. */
export function* thenGiveBack(
  rest: Steps,
  { texts }: OpenDatabase,
  text: string | undefined,
  statement: Statement,
): Steps {
  try {
    yield* rest;
  } finally {
    texts.giveBack(text, statement);
  }
}
