import { untilAborted } from './deadline.ts';
import { ClientError } from './errors.ts';
import { connectToLeader, type ServerList } from './leader.ts';
import { Session } from './session.ts';

/**
 * The open sessions on the leader, handed out one user at a time, in order of arrival. Sessions that broke, and
 * all that belong to a leader of the past, are replaced when somebody needs one.
 */
export class SessionPool {
  readonly #servers: ServerList;
  readonly #database: string;
  readonly #limit: number;
  readonly #idle: Session[] = [];
  readonly #inUse = new Set<Session>();
  readonly #waiting: (() => void)[] = [];
  #opening = 0;
  #closed = false;

  constructor(servers: ServerList, database: string, limit: number) {
    this.#servers = servers;
    this.#database = database;
    this.#limit = limit;
  }

  /** A session for the caller alone, until `release`. */
  async acquire(signal: AbortSignal | undefined): Promise<Session> {
    for (;;) {
      if (this.#closed) throw new ClientError('misuse', 'the client was closed');
      const session = this.#idle.pop();
      if (session?.usable === true) return this.#use(session);
      if (session !== undefined) continue;
      if (this.#inUse.size + this.#opening < this.#limit)
        return this.#use(await this.#open(signal));
      await this.#oneReleased(signal);
    }
  }

  /** Gives a session back. `leaderGone`: it said that it does not lead, and neither do the others like it. */
  release(session: Session, leaderGone = false): void {
    this.#inUse.delete(session);
    if (leaderGone) {
      session.close();
      for (const idle of this.#idle.splice(0)) idle.close();
    }
    if (this.#closed) session.close();
    if (session.usable) this.#idle.push(session);
    this.#waiting.shift()?.();
  }

  /** Closes all sessions, also those in use. */
  close(): void {
    this.#closed = true;
    for (const session of [...this.#idle.splice(0), ...this.#inUse]) session.close();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #use(session: Session): Session {
    this.#inUse.add(session);
    return session;
  }

  async #open(signal: AbortSignal | undefined): Promise<Session> {
    this.#opening += 1;
    try {
      const connection = await connectToLeader(this.#servers, signal);
      try {
        return await Session.open(connection, this.#database, signal);
      } catch (error) {
        connection.close();
        throw error;
      }
    } catch (error) {
      this.#waiting.shift()?.();
      throw error;
    } finally {
      this.#opening -= 1;
    }
  }

  async #oneReleased(signal: AbortSignal | undefined): Promise<void> {
    let wake = (): void => {};
    const released = new Promise<void>((resolve) => {
      wake = resolve;
    });
    this.#waiting.push(wake);
    try {
      await untilAborted(released, signal);
    } catch (error) {
      const at = this.#waiting.indexOf(wake);
      // Woken and aborted at once: the turn must not be lost.
      if (at < 0) this.#waiting.shift()?.();
      else this.#waiting.splice(at, 1);
      throw error;
    }
  }
}
