import { channels } from '../base/channels.ts';
import type { Instant } from '../base/ids.ts';
import type { Request, RequestOf } from '../protocol/requests.ts';
import type { Gateway } from './gateway.ts';
import type { OpenDatabase } from './open-database.ts';

/** What is known of a request for SQL that took long. Times are whole milliseconds. */
export interface SlowStatement {
  readonly database: string;
  readonly request: SqlRequest['kind'];
  /** From the request being looked at to its answer being complete. */
  readonly durationMs: number;
  /** Of that, before anything ran: for a leader, for the writer's turn, or for a proof of leadership. */
  readonly waitingMs: number;
  /** Of that, from when it was last seen running until what the answer depends on was committed. */
  readonly committingMs: number;
  /** Rows sent, or changed as the client is told; undefined for a request that failed. */
  readonly rows: number | undefined;
  /** The beginning of the text as the client sent it, so without parameters; undefined when the statement is gone. */
  readonly sql: string | undefined;
}

type SqlRequest =
  | RequestOf<'exec'>
  | RequestOf<'query'>
  | RequestOf<'execSql'>
  | RequestOf<'querySql'>;

/**
 * Tells observers of the requests of one session: of all on a channel, and of statements that take longer than
 * `slowStatementMs`. Most are answered at once and quickly: one look at the clock, at their end, is all that they pay.
 */
export class RequestWatch {
  readonly #gateway: Gateway;
  readonly #limitMs: number;
  #kind: Request['kind'] | 'unrecognized' = 'unrecognized';
  /** Looked at only for the channel. */
  #startedAt: Instant | undefined;
  #request: SqlRequest | undefined;
  #open: OpenDatabase | undefined;
  #waitingSince: Instant | undefined;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.#limitMs = gateway.limits.slowStatementMs;
  }

  /** A request is about to be decoded. */
  arrive(): void {
    this.#kind = 'unrecognized';
    this.#startedAt = channels.request.hasSubscribers ? this.#gateway.clock.now() : undefined;
    this.#request = undefined;
  }

  /** It is about to be handled. */
  begin(request: Request, open: OpenDatabase | undefined): void {
    this.#kind = request.kind;
    if (this.#limitMs === 0) return;
    this.#request = isSql(request) ? request : undefined;
    this.#open = open;
    this.#waitingSince = undefined;
  }

  /** It was not answered at once. */
  wait(): void {
    if (this.#request === undefined) return;
    this.#waitingSince = this.#open?.ranAt ?? this.#gateway.clock.now();
  }

  /** It is answered. `present`: the database that the session has now. */
  end(present: OpenDatabase | undefined, failed: boolean): void {
    this.#endStatement(present, failed);
    if (this.#startedAt === undefined) return;
    const durationMs = this.#gateway.clock.now() - this.#startedAt;
    channels.request.publish({ kind: this.#kind, durationMs, failed });
  }

  #endStatement(present: OpenDatabase | undefined, failed: boolean): void {
    const request = this.#request;
    const open = this.#open;
    this.#request = undefined;
    this.#open = undefined;
    if (request === undefined || open === undefined) return;
    const startedAt = this.#waitingSince ?? open.ranAt;
    if (startedAt === undefined) return;
    const now = this.#gateway.clock.now();
    if (now - startedAt < this.#limitMs) return;
    const { awaitedCommit, name, ranAt, seenRunningAt } = open;
    const committingMs = awaitedCommit ? now - (seenRunningAt ?? now) : 0;
    const usable = present === open ? open : undefined;
    this.#gateway.onSlowStatement({
      database: name,
      request: request.kind,
      durationMs: Math.round(now - startedAt),
      waitingMs: Math.round((ranAt ?? now) - startedAt),
      committingMs: Math.round(committingMs),
      rows: failed ? undefined : rowsOf(request, usable),
      sql: textOf(request, usable, this.#gateway.limits.maxLoggedSqlBytes),
    });
  }
}

function isSql(request: Request): request is SqlRequest {
  const { kind } = request;
  return kind === 'exec' || kind === 'query' || kind === 'execSql' || kind === 'querySql';
}

function rowsOf({ kind }: SqlRequest, open: OpenDatabase | undefined): number | undefined {
  if (open === undefined) return undefined;
  const reads = kind === 'query' || kind === 'querySql';
  return reads ? open.rowsSent : Number(open.connection.changes());
}

function textOf(
  request: SqlRequest,
  open: OpenDatabase | undefined,
  maxBytes: number,
): string | undefined {
  const sql = 'sql' in request ? request.sql : open?.statements.find(request.statement)?.sql;
  if (sql === undefined) return undefined;
  if (sql.length <= maxBytes) return new TextDecoder().decode(sql);
  // Not yet at its end, for the decoder: of a character that is cut it shows nothing.
  return `${new TextDecoder().decode(sql.subarray(0, maxBytes), { stream: true })}…`;
}
