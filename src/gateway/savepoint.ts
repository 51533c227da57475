import type { Connection, Statement } from '../sql/engine.ts';

/**
 * Makes a writing statement whose rows may turn out to be unwanted undoable: outside of a transaction its effect
 * would be committed as soon as it is reset.
 */
export class Savepoint {
  readonly #connection: Connection;
  readonly #statements = new Map<string, Statement>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Runs `work`; what it wrote is kept when it returns and undone when it throws. Reset statements before. */
  run<T>(work: () => T): T {
    this.#run('SAVEPOINT dqlited');
    try {
      const result = work();
      this.#run('RELEASE dqlited');
      return result;
    } catch (error) {
      // SQLite rolls some failures back as a whole, the savepoint with it.
      if (!this.#connection.autocommit) {
        this.#run('ROLLBACK TO dqlited');
        this.#run('RELEASE dqlited');
      }
      throw error;
    }
  }

  #run(sql: string): void {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#connection.prepare(Buffer.from(sql)).statement;
      if (statement === undefined) return;
      this.#statements.set(sql, statement);
    }
    try {
      statement.step();
    } finally {
      statement.reset();
    }
  }
}
