import { DqliteError } from '../base/errors.ts';
import type { Instant, Term } from '../base/ids.ts';
import type { Connection, Engine, Prepared, Statement } from '../sql/engine.ts';
import type { Replica } from '../sql/replica.ts';
import type { Gateway } from './gateway.ts';
import type { Reader, Readers, ReaderUser } from './readers.ts';
import { Savepoint } from './savepoint.ts';
import { StatementCache } from './statement-cache.ts';
import { StatementRegistry } from './statement-registry.ts';
import type { Steps, Task } from './task.ts';
import type { Turns } from './turns.ts';

const never = Number.POSITIVE_INFINITY as Instant;

/** What decides for what a statement has to wait. */
type StatementKind = Pick<Statement, 'readOnly' | 'columnCount'>;

interface OpenParts {
  readonly gateway: Gateway;
  readonly task: Task;
  readonly replica: Replica;
  readonly term: Term;
  readonly engine: Engine;
  readonly cancelled: () => boolean;
}

/** How often a running statement looks whether its client still wants it. */
const lookIntervalMs = 20;

/**
 * The database of one session: its connection, its statements, its place among the writers, and what the answer
 * of the present request depends on.
 */
export class OpenDatabase implements ReaderUser {
  readonly connection: Connection;
  /** What the client has prepared. */
  readonly statements: StatementRegistry;
  /** What it runs by its text. */
  readonly texts: StatementCache;
  readonly savepoint: Savepoint;
  /** The engine of the connection. */
  readonly engine: Engine;
  /** An open transaction idled for too long and was rolled back; the client does not know yet. */
  expired = false;
  /** Rows that this request has sent. */
  rowsSent = 0;
  readonly #gateway: Gateway;
  readonly #task: Task;
  readonly #term: Term;
  readonly #replica: Replica;
  readonly #turns: Turns;
  readonly #readers: Readers;
  readonly #cancelled: () => boolean;
  #holdsTurn = false;
  /** The newest version that the answer depends on. */
  #dependsOn = 0;
  /** A majority has confirmed that this server led after the request (or the open transaction) began. */
  #proven = false;
  /** When the statement that runs is interrupted. */
  #stopAt = never;
  /** When the statement that runs next looks for an INTERRUPT. */
  #lookAt = never;
  #ranAt: Instant | undefined;
  #seenRunningAt: Instant | undefined;
  #awaitedCommit = false;
  /** What the connection knows of the schema may be older than what the client has read. */
  #readElsewhere = false;
  /** The transaction that goes on gathers statistics. */
  #analyzes = false;

  /**
   * Opens the database of this name, which is created when there is none. `cancelled` tells whether the client
   * still wants the statement that keeps the event loop busy.
   * @throws DqliteError when there are too many, or the engine has no room for a connection
   */
  static open(gateway: Gateway, task: Task, name: string, cancelled: () => boolean): OpenDatabase {
    const { machine } = gateway;
    const term = machine.leadingTerm;
    if (term === undefined) throw DqliteError.of('notLeader');
    const { engine } = gateway;
    const replica = machine.open(name);
    try {
      const open = new OpenDatabase({ gateway, task, replica, term, engine, cancelled });
      open.connection.onProgress(() => open.mustStop());
      open.#readers.join();
      return open;
    } catch (error) {
      machine.close(replica);
      throw error;
    }
  }

  private constructor({ gateway, task, replica, term, engine, cancelled }: OpenParts) {
    this.#gateway = gateway;
    this.#cancelled = cancelled;
    this.#task = task;
    this.#replica = replica;
    this.#term = term;
    this.#turns = gateway.turnsOf(replica);
    this.#readers = gateway.readersOf(replica);
    this.engine = engine;
    this.connection = engine.connect(replica.database);
    this.statements = new StatementRegistry(gateway.limits.maxStatementsPerSession);
    this.texts = new StatementCache(gateway.statementCaches);
    this.savepoint = new Savepoint(this.connection);
  }

  /** The name that it was opened by. */
  get name(): string {
    return this.#replica.database.name;
  }

  /** When the first statement of this request began to run. */
  get ranAt(): Instant | undefined {
    return this.#ranAt;
  }

  /** When a statement of this request was last seen running, which is every thousand steps of SQLite's machine. */
  get seenRunningAt(): Instant | undefined {
    return this.#seenRunningAt;
  }

  /** Then this request had to wait until what it depends on was committed. */
  get awaitedCommit(): boolean {
    return this.#awaitedCommit;
  }

  /** The leadership in which it was opened has ended: it must be dropped. */
  get lost(): boolean {
    return this.#gateway.machine.leadingTerm !== this.#term;
  }

  /** Forgets what the request before depended on. */
  startRequest(): void {
    this.#dependsOn = 0;
    this.#ranAt = undefined;
    this.#awaitedCommit = false;
    this.rowsSent = 0;
    // Within a transaction all statements see one snapshot: one proof is enough for it.
    if (this.connection.autocommit) this.#proven = false;
  }

  /**
   * A reader with the statement that is all of this text; `endShared` gives it back. Undefined: the statement has to run on
   * the connection of the session. @throws DqliteError SQLite's
   */
  takeReader(text: string | undefined): Reader | undefined {
    const { customized, autocommit } = this.connection;
    // Else it may mean something else here than on other connections, or show more than what is committed.
    if (text === undefined || customized || !autocommit) return undefined;
    this.#readElsewhere = true;
    return this.#readers.take(this, text);
  }

  /** Before a statement is compiled that is not run by this request: a schema that the client has read is known here. */
  catchUp(): void {
    if (this.#readElsewhere) this.connection.catchUp();
    this.#readElsewhere = false;
  }

  /**
   * Compiles a statement to be run by this request. It is compiled against the head, but what it found there binds
   * no answer: when it runs, SQLite compares the schema with that of its own snapshot. @throws DqliteError
   */
  prepare(sql: Uint8Array, offset = 0): Prepared {
    const prepared = this.connection.prepare(sql, offset);
    this.connection.takeDependency();
    return prepared;
  }

  /** `begin`, when nothing has to be waited for. @throws DqliteError `notLeader` */
  tryBegin(statement: StatementKind): boolean {
    this.#refuseUnwelcomeWrites(statement);
    if (this.#mustAwaitHandover(statement)) return false;
    if (statement.readOnly ? !this.#mayRead() : !this.#mayWrite()) return false;
    this.restartDeadline();
    return true;
  }

  /**
   * Waits until `statement` may be stepped: a writer for its turn, a reader for a proof of leadership.
   * @throws DqliteError `busy`, `notLeader`, `leadershipLost`
   */
  *begin(statement: StatementKind): Steps {
    if (!statement.readOnly) {
      yield* this.#takeTurn();
      yield* this.#awaitHandover(statement);
      if (this.#gateway.machine.lacksSpace) {
        this.#keepTurn(this.connection.writing);
        throw DqliteError.of('diskFull');
      }
    } else {
      yield* this.#awaitHandover(statement);
      // Within one EXEC_SQL, a read sees what the statements before it wrote.
      if (this.connection.autocommit) yield* this.untilCommitted();
      yield* this.#prove();
    }
    this.restartDeadline();
  }

  /** The statement timeout counts from now: the statement has paused. */
  restartDeadline(): void {
    const { clock, limits } = this.#gateway;
    const now = clock.now();
    this.#ranAt ??= now;
    this.#seenRunningAt = now;
    const { statementTimeoutMs } = limits;
    this.#stopAt = statementTimeoutMs > 0 ? ((now + statementTimeoutMs) as Instant) : never;
    this.#lookAt = (now + lookIntervalMs) as Instant;
  }

  /**
   * After each statement, however it ended: makes it ready to run again, proposes what it committed, and gives the
   * turn back unless a transaction goes on.
   */
  end(statement: Statement): void {
    this.#stopAt = never;
    this.#lookAt = never;
    this.#analyzes ||= statement.analyzes;
    try {
      statement.reset();
      if (statement.parameterCount > 0) statement.clearBindings();
    } finally {
      // Also when the engine broke: what it published before is part of the database's history.
      this.#submitCaptured();
      this.#keepTurn(this.connection.writing);
    }
  }

  /** The same after a statement on a reader, which is given back. */
  endShared(reader: Reader): void {
    this.#stopAt = never;
    this.#lookAt = never;
    this.#readers.giveBack(reader);
  }

  /** The answer may leave now. */
  get settled(): boolean {
    this.#noteDependency();
    return this.#proven && this.#dependsOn <= this.#replica.database.committedVersion;
  }

  /**
   * Waits until the answer may leave: everything it depends on is committed, and this server was the leader when
   * it looked. @throws DqliteError `leadershipLost`, `notLeader`
   */
  *untilSettled(): Steps {
    this.#noteDependency();
    yield* this.untilCommitted();
    yield* this.#prove();
  }

  /** Waits until what the request wrote and read is committed. @throws DqliteError `leadershipLost` */
  *untilCommitted(): Steps {
    if (this.#dependsOn <= this.#replica.database.committedVersion) return;
    const version = this.#dependsOn;
    this.#awaitedCommit = true;
    yield* this.#task.pause((task) => this.#replica.whenCommitted(version, task), 'leadershipLost');
  }

  /** Ends the open transaction without its client's doing. */
  expire(): void {
    this.expired = true;
    const { statement } = this.connection.prepare(Buffer.from('ROLLBACK'));
    if (statement === undefined) return;
    try {
      statement.step();
    } finally {
      this.end(statement);
      statement.finalize();
    }
  }

  /** Rolls back what is open and frees everything. */
  close(): void {
    this.connection.close();
    this.#release();
  }

  /** The engine is gone, and the connection with it. */
  abandon(): void {
    this.#readers.abandon();
    this.#release();
  }

  #release(): void {
    this.#readers.leave();
    this.texts.close();
    this.#keepTurn(false);
    this.#gateway.machine.close(this.#replica);
  }

  /** Asked by SQLite while a statement runs. */
  mustStop(): boolean {
    const now = this.#gateway.clock.now();
    this.#seenRunningAt = now;
    if (now >= this.#stopAt) return true;
    if (now < this.#lookAt) return false;
    this.#lookAt = (now + lookIntervalMs) as Instant;
    return this.#cancelled();
  }

  #submitCaptured(): void {
    for (;;) {
      const captured = this.connection.takeCaptured();
      if (captured === undefined) break;
      this.#gateway.machine.submit(captured, this.#gateway.consensus);
      this.#dependsOn = captured.version;
      if (this.#analyzes) this.#readers.renewAt(captured.version);
      this.#analyzes = false;
      // Proposed after the request began: its commit proves leadership as well as any other round.
      this.#proven = true;
    }
    this.#noteDependency();
  }

  /** The turn goes with SQLite's writer lock, which a transaction holds from its first write on. */
  #keepTurn(keep: boolean): void {
    if (this.#holdsTurn === keep) return;
    this.#holdsTurn = keep;
    if (keep) this.#turns.seize();
    else this.#turns.release();
  }

  #noteDependency(): void {
    this.dependOn(this.connection.takeDependency());
  }

  dependOn(version: number): void {
    if (version > this.#dependsOn) this.#dependsOn = version;
  }

  /** On a full disk it would not fit. There is room for what is open: at most one transaction of each database. */
  #refuseUnwelcomeWrites(statement: StatementKind): void {
    const { lacksSpace } = this.#gateway.machine;
    if (lacksSpace && !statement.readOnly) throw DqliteError.of('diskFull');
  }

  /**
   * While leadership is handed over nothing may be proposed, by a write or by a COMMIT: it would come behind the order
   * to take over, and get lost.
   */
  #mustAwaitHandover(statement: StatementKind): boolean {
    if (!this.#gateway.machine.transferring) return false;
    return !statement.readOnly || (this.connection.writing && statement.columnCount === 0);
  }

  /** Waits for the outcome: another server leads, or this one goes on. @throws DqliteError `notLeader` */
  *#awaitHandover(statement: StatementKind): Steps {
    const { leaderWatch } = this.#gateway;
    while (this.#mustAwaitHandover(statement)) {
      if (!leaderWatch.pending) {
        this.#keepTurn(this.connection.writing);
        throw DqliteError.of('notLeader');
      }
      yield* this.#task.pause((task) => leaderWatch.wait(task), 'notLeader');
    }
  }

  #mayRead(): boolean {
    const { database } = this.#replica;
    if (this.connection.autocommit && this.#dependsOn > database.committedVersion) return false;
    this.#proven ||= this.#gateway.consensus.leaseHeld();
    return this.#proven;
  }

  #mayWrite(): boolean {
    this.#holdsTurn ||= this.#turns.tryTake();
    return this.#holdsTurn;
  }

  *#takeTurn(): Steps {
    if (this.#mayWrite()) return;
    const { busyTimeoutMs } = this.#gateway.limits;
    if (busyTimeoutMs === 0 && this.#turns.taken) throw DqliteError.of('busy');
    yield* this.#task.pause((task) => this.#turns.wait(task, busyTimeoutMs), 'notLeader');
    this.#holdsTurn = true;
    // The session before may have given the turn back because leadership is lost, which this one hears of later.
    if (this.lost) throw DqliteError.of('notLeader');
  }

  *#prove(): Steps {
    this.#proven ||= this.#gateway.consensus.leaseHeld();
    if (this.#proven) return;
    const { leadershipCheck } = this.#gateway;
    yield* this.#task.pause((task) => leadershipCheck.wait(task), 'notLeader');
    this.#proven = true;
  }
}
