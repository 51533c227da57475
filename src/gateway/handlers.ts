import type { Request, RequestOf } from '../protocol/requests.ts';
import {
  add,
  assign,
  cluster,
  describe,
  leader,
  remove,
  transfer,
  weight,
} from './handlers/cluster.ts';
import { client, connect, interrupt, open } from './handlers/connection.ts';
import { dump } from './handlers/dump.ts';
import { exec, execSql } from './handlers/execute.ts';
import { query, querySql } from './handlers/query.ts';
import { finalize, prepare } from './handlers/statements.ts';
import type { Session } from './session.ts';
import type { Steps } from './task.ts';

/**
 * Answers one request: writes the response, or throws the DqliteError that becomes its FAILURE. Undefined when it is
 * done at once; otherwise the rest of the story.
 */
type Handler<R> = (session: Session, request: R) => Steps | undefined;

/** One handler for each kind of request: a missing one is a compile error. */
const handlers: { readonly [K in Request['kind']]: Handler<RequestOf<K>> } = {
  leader,
  client,
  open,
  prepare,
  exec,
  query,
  finalize,
  execSql,
  querySql,
  interrupt,
  connect,
  add,
  assign,
  remove,
  dump,
  cluster,
  transfer,
  describe,
  weight,
};

export function handle(session: Session, request: Request): Steps | undefined {
  const handler = handlers[request.kind] as Handler<Request>;
  return handler(session, request);
}
