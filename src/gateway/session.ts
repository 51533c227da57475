import type { Timer } from '../base/clock.ts';
import { DqliteError, type ErrorName, WireError } from '../base/errors.ts';
import type { Instant } from '../base/ids.ts';
import { type Frame, Framer, type ProtocolVersion } from '../protocol/framer.ts';
import { decodeRequest } from '../protocol/requests.ts';
import { type Response, responses } from '../protocol/responses.ts';
import { Writer } from '../protocol/words.ts';
import { EngineBroken } from '../sql/engine.ts';
import type { Gateway } from './gateway.ts';
import { handle } from './handlers.ts';
import type { SessionLimits } from './limits.ts';
import { OpenDatabase } from './open-database.ts';
import type { Output } from './output.ts';
import { RequestWatch } from './request-watch.ts';
import { type Steps, Task } from './task.ts';
import { TimedWait, waitForTurn } from './waits.ts';

/** Requests answered without letting other connections have their turn. */
const requestsPerTurn = 128;

/** Answers that are longer leave before the next request is looked at. */
const flushBytes = 16 * 1024;

/** Type of the INTERRUPT request: looked for while rows are being sent. */
const interruptType = 10;

/**
 * One client: its bytes in, its answers out. One request at a time, answered strictly in order; what is answered in
 * one turn of the event loop leaves in one write. The transport calls `receive`, `drained` and `close`.
 */
export class Session {
  readonly gateway: Gateway;
  /** Answers under construction: what is in it leaves with the next flush. */
  readonly writer = new Writer();
  readonly task = new Task(() => this.#work());
  readonly #output: Output;
  readonly #framer: Framer;
  #version: ProtocolVersion | undefined;
  readonly #limits: SessionLimits;
  readonly #watch: RequestWatch;
  #database: OpenDatabase | undefined;
  /** Looks at the open transaction. Not stopped by requests: starting it anew for each costs more than it does. */
  #idleTimer: Timer | undefined;
  /** When the last request was answered within a transaction. */
  #idleSince = 0 as Instant;
  #drain: TimedWait | undefined;
  #working = false;
  #resting = false;
  #reading = true;
  #ended = false;

  constructor(gateway: Gateway, output: Output) {
    this.gateway = gateway;
    this.#output = output;
    this.#limits = gateway.limits;
    this.#watch = new RequestWatch(gateway);
    this.#framer = new Framer(gateway.limits.maxMessageBytes);
  }

  /** Bytes from the client, however they are chopped up. They must not change afterwards. */
  receive(chunk: Buffer): void {
    if (this.#ended) return;
    this.#framer.push(chunk);
    this.#work();
  }

  /** Everything written has been taken by the network. */
  drained(): void {
    this.#drain?.resume();
    if (!this.#resting) return;
    this.#resting = false;
    this.#work();
  }

  /** The client is gone: what it had open is rolled back, others get its turn at once. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#idleTimer?.cancel();
    this.task.cancel();
    this.#database?.close();
    this.#database = undefined;
    this.gateway.forget(this);
  }

  /** The first word that the client sent. */
  get version(): ProtocolVersion {
    return this.#version ?? 'v1';
  }

  reply(response: Response): void {
    responses.write(this.writer, response);
  }

  /** Sends a long answer that is complete, without another copy of it. */
  send(bytes: Uint8Array): void {
    this.#flush();
    this.#output.write(bytes);
  }

  /** The database that the request names. @throws DqliteError `noDatabase` */
  database(id: number | bigint): OpenDatabase {
    const open = this.#database;
    if (open === undefined || Number(id) !== 0) throw DqliteError.of('noDatabase');
    return open;
  }

  /** The database, for a request that runs SQL. @throws DqliteError `noDatabase`, `transactionExpired` */
  databaseForSql(id: number | bigint): OpenDatabase {
    const open = this.database(id);
    if (open.expired) {
      open.expired = false;
      throw DqliteError.of('transactionExpired');
    }
    return open;
  }

  /** Opens the database of this session. @throws DqliteError when it has one, or the name is none */
  open(name: string): void {
    if (this.#database !== undefined) throw DqliteError.of('alreadyOpen');
    if (name === '' || name === ':memory:') throw DqliteError.of('badDatabaseName');
    this.#database = OpenDatabase.open(this.gateway, this.task, name, () => this.#cancelled());
  }

  /** This server leads and may execute SQL. When false, `untilLeading` waits or says why not. */
  get leading(): boolean {
    return this.gateway.machine.leadingTerm !== undefined;
  }

  /** @throws DqliteError `notLeader`, `stateMachineStopped` */
  *untilLeading(): Steps {
    const { machine } = this.gateway;
    if (machine.leadershipPending) {
      yield* this.task.pause((task) => this.gateway.whenReady(task), undefined);
    }
    if (machine.stopped !== undefined) throw DqliteError.of('stateMachineStopped');
    if (!this.leading) throw DqliteError.of('notLeader');
  }

  /** While leadership moves: waits until it is known who leads, or for as long as that should take. */
  *untilLeaderKnown(): Steps {
    const { leaderWatch } = this.gateway;
    if (!leaderWatch.pending) return;
    yield* this.task.pause((task) => leaderWatch.wait(task), undefined);
  }

  /** Lets other connections have their turn. When leadership is lost meanwhile, the request fails with `ifLost`. */
  letOthers(ifLost: ErrorName): Steps {
    return this.task.pause((task) => waitForTurn(this.gateway.clock, task), ifLost);
  }

  /** Sends what is written and lets others have their turn; waits for a client that does not read. */
  *betweenBatches(ifLost: 'interrupted' | undefined): Steps {
    this.#flush();
    const { clock } = this.gateway;
    if (this.#output.bufferedBytes <= this.#limits.outputHighWaterBytes) {
      yield* this.task.pause((task) => waitForTurn(clock, task), ifLost);
      return;
    }
    const timeoutMs = this.#limits.maxStalledQueryMs;
    yield* this.task.pause((task) => {
      this.#drain = new TimedWait(task, clock, timeoutMs, 'queryStalled');
      return this.#drain;
    }, ifLost);
  }

  /** The client wants no more rows: an INTERRUPT is its next request. */
  get interrupted(): boolean {
    return this.#nextType() === interruptType;
  }

  /** While a statement holds the event loop: its client has said INTERRUPT meanwhile, or is gone. */
  #cancelled(): boolean {
    if (this.#framer.bufferedBytes <= this.#limits.maxQueuedRequestBytes) {
      const bytes = this.#output.readNow();
      if (bytes === undefined) return true;
      if (bytes.length > 0) this.#framer.push(bytes);
    }
    return this.interrupted;
  }

  /** Ends the session from this side: behind what is answered, the connection closes without another word. */
  end(): void {
    if (this.#ended) return;
    this.#flush();
    this.close();
    this.#output.close();
  }

  /** Gives the connection away: it carries Raft from now on. */
  becomePeer(id: bigint, address: string): void {
    const rest = this.#framer.takeRest();
    this.#flush();
    this.close();
    this.#output.becomePeer(id, address, rest);
  }

  /** For the gateway: SQL state of this session is gone, the connection stays. */
  leadershipLost(): void {
    const open = this.#forgetDatabase();
    this.task.lose();
    open?.close();
  }

  /** For the gateway: the same, but the engine must not be called any more. */
  engineLost(): void {
    const open = this.#forgetDatabase();
    this.task.lose('engineRestarted');
    open?.abandon();
  }

  #forgetDatabase(): OpenDatabase | undefined {
    const open = this.#database;
    this.#database = undefined;
    this.#idleTimer?.cancel();
    this.#idleTimer = undefined;
    return open;
  }

  #work(): void {
    if (this.#working || this.#resting || this.#ended) return;
    this.#working = true;
    try {
      this.#version ??= this.#framer.handshake();
      if (this.#version !== undefined) this.#answerWaiting();
      this.#flush();
      this.#limitInput();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.end();
    } finally {
      this.#working = false;
    }
  }

  #answerWaiting(): void {
    for (let answered = 0; !this.#ended && !this.task.busy; answered++) {
      if (this.writer.length > flushBytes) this.#flush();
      if (this.#output.bufferedBytes > this.#limits.outputHighWaterBytes) {
        // Until `drained`: a client that does not read its answers gets no more of them.
        this.#resting = true;
        return;
      }
      if (answered === requestsPerTurn) {
        this.#restForTurn();
        return;
      }
      const frame = this.#framer.next();
      if (frame === undefined) return;
      this.#serve(frame);
    }
  }

  #restForTurn(): void {
    this.#resting = true;
    this.gateway.clock.nextTurn(() => {
      this.#resting = false;
      this.#work();
    });
  }

  #flush(): void {
    if (this.writer.length === 0 || this.#ended) return;
    const bytes = this.writer.takeBytes();
    if (this.#output.write(bytes)) Writer.giveBack(bytes);
  }

  /** While whole requests wait, no more than enough of them are read. */
  #limitInput(): void {
    if (this.#ended) return;
    const many = this.#framer.bufferedBytes > this.#limits.maxQueuedRequestBytes;
    const read = !(many && this.#nextType() !== undefined);
    if (read === this.#reading) return;
    this.#reading = read;
    if (read) this.#output.resumeReading();
    else this.#output.pauseReading();
  }

  /** Type of the request behind the present one. Malformed bytes get their turn later. */
  #nextType(): number | undefined {
    try {
      return this.#framer.peekType();
    } catch (error) {
      if (error instanceof WireError) return -1;
      throw error;
    }
  }

  /** Most requests are answered here and now; the story of one that has to wait goes on as a task. */
  #serve(frame: Frame): void {
    this.#database?.startRequest();
    this.#watch.arrive();
    let steps: Steps | undefined;
    let failed = false;
    try {
      const request = decodeRequest(frame);
      if (request.kind === 'unrecognized') throw DqliteError.of(request.error);
      this.#watch.begin(request, this.#database);
      steps = handle(this, request);
    } catch (error) {
      if (error instanceof WireError) {
        this.end();
        return;
      }
      failed = true;
      steps = this.#fail(error);
    }
    if (steps === undefined) {
      this.#served(failed);
      return;
    }
    this.#watch.wait();
    this.task.start(this.#serveSteps(steps, failed));
  }

  *#serveSteps(steps: Steps, failing: boolean): Steps {
    let failed = failing;
    try {
      yield* steps;
    } catch (error) {
      if (error instanceof WireError) {
        this.end();
        return;
      }
      failed = true;
      yield* this.#fail(error);
    }
    this.#served(failed);
  }

  #served(failed: boolean): void {
    if (this.#ended) return;
    this.#watchTransaction();
    this.#watch.end(this.#database, failed);
  }

  /** Answers with a failure, once what it tells is certain. */
  *#fail(error: unknown): Steps {
    let failure = this.#failureOf(error);
    const open = this.#database;
    if (open !== undefined && !open.lost) {
      try {
        if (tellsOfData(failure)) yield* open.untilSettled();
        else yield* open.untilCommitted();
      } catch (unsettled) {
        failure = this.#failureOf(unsettled);
      }
    }
    // Whoever hears this looks for the leader: it had better be found at once.
    if (failure.code === 'notLeader') yield* this.untilLeaderKnown();
    this.reply({ kind: 'failure', code: failure.wire, message: failure.message });
  }

  /** Expected failures are answered; a broken engine is replaced; anything else is a bug of our own. */
  #failureOf(error: unknown): DqliteError {
    if (error instanceof DqliteError) return error;
    const engine = this.#database?.engine;
    if (engine?.broken === true) this.gateway.engineFailed(engine, error);
    else if (!(error instanceof EngineBroken)) throw error;
    return DqliteError.of('engineRestarted');
  }

  /** An open transaction may idle for a while, not for ever. */
  #watchTransaction(): void {
    const open = this.#database;
    const timeoutMs = this.#limits.idleTransactionTimeoutMs;
    if (open === undefined || timeoutMs === 0 || open.connection.autocommit) return;
    this.#idleSince = this.gateway.clock.now();
    if (this.#idleTimer === undefined) this.#lookAtTransaction(timeoutMs);
  }

  #lookAtTransaction(afterMs: number): void {
    const { clock } = this.gateway;
    this.#idleTimer = clock.after(afterMs, () => {
      this.#idleTimer = undefined;
      const open = this.#database;
      if (open === undefined || open.connection.autocommit) return;
      const timeoutMs = this.#limits.idleTransactionTimeoutMs;
      const leftMs = this.task.busy ? timeoutMs : this.#idleSince + timeoutMs - clock.now();
      if (leftMs > 0) this.#lookAtTransaction(leftMs);
      else this.#expire(open);
    });
  }

  #expire(open: OpenDatabase): void {
    try {
      open.expire();
    } catch (error) {
      // Whatever keeps SQLite from rolling back: closing does it too.
      this.#failureOf(error);
      this.#forgetDatabase()?.close();
    }
  }
}

/** The failure says something about what is stored: as much has to be certain of it as of any row. */
function tellsOfData({ code }: DqliteError): boolean {
  return code === 'sqlite' || code === 'rowsYielded';
}
