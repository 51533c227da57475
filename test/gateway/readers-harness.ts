import type { Connection, ConnectionUse, Engine } from '../../src/sql/engine.ts';
import { Harness, type HarnessOptions } from './harness.ts';

/** What became of the connections of a harness. */
export interface Observed {
  readonly harness: Harness;
  /** Each run of a statement, as "reader 2: SELECT 1": its connection, numbered as opened, and its text. */
  readonly ran: string[];
  /** Texts that were compiled on readers. */
  readonly compiled: string[];
  /** Readers that were opened and not closed. */
  readonly open: Set<Connection>;
  /** Calls of SQLite through connections and statements. */
  calls: number;
}

/** A harness that tells which connection runs what. `wrap` comes between SQLite and that. */
export function observed(
  options: HarnessOptions = {},
  wrap: (engine: Engine) => Engine = (engine) => engine,
): Observed {
  const seen = {
    ran: [] as string[],
    compiled: [] as string[],
    open: new Set<Connection>(),
    calls: 0,
  };
  const numbers = { session: 0, reader: 0 };
  const watch = (connection: Connection, use: ConnectionUse): Connection => {
    const name = `${use} ${++numbers[use]}`;
    if (use === 'reader') seen.open.add(connection);
    const close = connection.close.bind(connection);
    connection.close = () => {
      seen.calls++;
      seen.open.delete(connection);
      close();
    };
    const prepare = connection.prepare.bind(connection);
    connection.prepare = (sql, offset = 0) => {
      seen.calls++;
      const text = Buffer.from(sql).toString('latin1');
      if (use === 'reader') seen.compiled.push(text);
      const prepared = prepare(sql, offset);
      const { statement } = prepared;
      if (statement === undefined) return prepared;
      let running = false;
      const { step, reset } = statement;
      statement.step = () => {
        seen.calls++;
        if (!running) seen.ran.push(`${name}: ${text}`);
        running = true;
        return step.call(statement);
      };
      statement.reset = () => {
        seen.calls++;
        running = false;
        reset.call(statement);
      };
      return prepared;
    };
    return connection;
  };
  const wrapEngine = (made: Engine): Engine => {
    const engine = wrap(made);
    const connect = engine.connect.bind(engine);
    engine.connect = (database, use = 'session') => watch(connect(database, use), use);
    return engine;
  };
  const harness = new Harness({ ...options, wrapEngine });
  return Object.assign(seen, { harness });
}
