import type { Clock } from '../base/clock.ts';
import { DqliteError } from '../base/errors.ts';
import type { ServerId } from '../base/ids.ts';
import type { Engine } from '../sql/engine.ts';
import type { Replica } from '../sql/replica.ts';
import type { SqlStateMachine, StateMachineListener } from '../sql/state-machine.ts';
import { PendingWait, type Wait, type Waiter } from '../sql/waiter.ts';
import type { Consensus } from './consensus.ts';
import { LeaderWatch } from './leader-watch.ts';
import { LeadershipCheck } from './leadership-check.ts';
import type { SessionLimits } from './limits.ts';
import type { Output } from './output.ts';
import { ReaderBudget, Readers } from './readers.ts';
import type { SlowStatement } from './request-watch.ts';
import { Session } from './session.ts';
import { StatementCaches } from './statement-cache.ts';
import { Turns } from './turns.ts';

/** Everything that sessions share. */
export interface GatewayParts {
  readonly machine: SqlStateMachine;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly limits: SessionLimits;
  readonly engine: Engine;
  /**
   * The engine failed with `cause`: gives a new one over the same page store. Must not reject: without an engine the
   * process has to stop.
   */
  readonly replaceEngine: (cause: unknown) => Promise<Engine>;
  readonly server: ServerDescription;
  /** A statement took longer than `limits.slowStatementMs`. */
  readonly onSlowStatement: (statement: SlowStatement) => void;
}

/** This server as LEADER, CLUSTER and DESCRIBE show it. */
export interface ServerDescription {
  readonly id: ServerId;
  readonly failureDomain: bigint;
}

/** All client sessions of this server, and what they share. */
export class Gateway implements StateMachineListener {
  readonly machine: SqlStateMachine;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly limits: SessionLimits;
  readonly server: ServerDescription;
  readonly onSlowStatement: (statement: SlowStatement) => void;
  /** Set by WEIGHT, told by DESCRIBE, forgotten by a restart. */
  weight = 0n;
  /** Shared by all reads that need a proof of leadership. */
  readonly leadershipCheck: LeadershipCheck;
  /** What waits until it is known who leads. */
  readonly leaderWatch: LeaderWatch;
  /** Statements that sessions keep compiled between requests. */
  readonly statementCaches: StatementCaches;
  /** Readers of all databases. */
  readonly readerBudget: ReaderBudget;
  readonly #replaceEngine: (cause: unknown) => Promise<Engine>;
  #engine: Engine | undefined;
  readonly #sessions = new Set<Session>();
  readonly #turns = new WeakMap<Replica, Turns>();
  readonly #readers = new WeakMap<Replica, Readers>();
  #waitingForLeadership = new Set<PendingWait>();

  constructor(parts: GatewayParts) {
    this.machine = parts.machine;
    this.consensus = parts.consensus;
    this.clock = parts.clock;
    this.limits = parts.limits;
    this.server = parts.server;
    this.onSlowStatement = parts.onSlowStatement;
    this.statementCaches = new StatementCaches({
      perSession: parts.limits.maxCachedStatementsPerSession,
      total: parts.limits.maxCachedStatements,
      maxTextBytes: parts.limits.maxCachedTextBytes,
    });
    this.readerBudget = new ReaderBudget(
      {
        perDatabase: parts.limits.maxReadersPerDatabase,
        total: parts.limits.maxReaders,
        statements: parts.limits.maxCachedStatementsPerReader,
      },
      this.statementCaches,
    );
    this.leadershipCheck = new LeadershipCheck(parts.consensus);
    this.leaderWatch = new LeaderWatch({
      consensus: parts.consensus,
      clock: parts.clock,
      self: parts.server.id,
      limitMs: parts.limits.leaderWaitMs,
    });
    this.#engine = parts.engine;
    this.#replaceEngine = parts.replaceEngine;
    parts.machine.listen(this);
  }

  /** Sessions that are connected. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Sessions with a request under way. */
  get busySessionCount(): number {
    let count = 0;
    for (const session of this.#sessions) if (session.task.busy) count++;
    return count;
  }

  /** A session for a client that has just connected. It begins with the handshake. */
  accept(output: Output): Session {
    const session = new Session(this, output);
    this.#sessions.add(session);
    return session;
  }

  /** A session has ended. */
  forget(session: Session): void {
    this.#sessions.delete(session);
  }

  /** The writer's queue of a database. */
  turnsOf(replica: Replica): Turns {
    let turns = this.#turns.get(replica);
    if (turns === undefined) {
      turns = new Turns(replica, this.clock);
      this.#turns.set(replica, turns);
    }
    return turns;
  }

  /** The readers of a database. */
  readersOf(replica: Replica): Readers {
    let readers = this.#readers.get(replica);
    if (readers === undefined) {
      readers = new Readers(replica.database, this.readerBudget);
      this.#readers.set(replica, readers);
    }
    return readers;
  }

  /** The engine in use. @throws DqliteError `engineRestarted` while a new one is being made */
  get engine(): Engine {
    if (this.#engine === undefined) throw DqliteError.of('engineRestarted');
    return this.#engine;
  }

  /** Resumes the waiter when this elected server may execute SQL, or fails it with `notLeader`. */
  whenReady(waiter: Waiter): Wait {
    const wait = new PendingWait(waiter);
    this.#waitingForLeadership.add(wait);
    return wait;
  }

  leadershipReady(): void {
    for (const wait of this.#takeWaiting()) wait.resume();
  }

  leadershipLost(): void {
    for (const session of this.#sessions) session.leadershipLost();
    for (const wait of this.#takeWaiting()) wait.fail(DqliteError.of('notLeader'));
  }

  placeChanged(): void {
    this.leaderWatch.changed();
  }

  /**
   * A call ended inside the engine, which does not survive that: its connections are gone, a new one takes over. What
   * was captured before is not affected.
   */
  engineFailed(failed: Engine, cause: unknown): void {
    if (this.#engine !== failed) return;
    this.#engine = undefined;
    failed.discard();
    for (const session of this.#sessions) session.engineLost();
    void this.#replaceEngine(cause).then((engine) => {
      this.#engine = engine;
    });
  }

  #takeWaiting(): ReadonlySet<PendingWait> {
    const waiting = this.#waitingForLeadership;
    this.#waitingForLeadership = new Set();
    return waiting;
  }
}
