import type { Engine } from '../../src/sql/engine.ts';
import type { Harness } from './harness.ts';

/** From now on each look at the clock finds that some time has passed. */
export function hurry(harness: Harness, byMs: number): void {
  const { clock } = harness;
  const now = clock.now.bind(clock);
  let passedMs = 0;
  clock.now = () => {
    passedMs += byMs;
    return (now() + passedMs) as ReturnType<typeof now>;
  };
}

/** An engine whose statements trap when told, as WASM does. */
export function breakable(engine: Engine, broken: () => boolean): Engine {
  let isBroken = false;
  return {
    build: engine.build,
    memoryBytes: engine.memoryBytes,
    get broken() {
      return isBroken || engine.broken;
    },
    discard: () => engine.discard(),
    connect(database, use) {
      const connection = engine.connect(database, use);
      const prepare = connection.prepare.bind(connection);
      connection.prepare = (sql, offset) => {
        const prepared = prepare(sql, offset);
        const { statement } = prepared;
        if (statement === undefined) return prepared;
        const step = statement.step.bind(statement);
        statement.step = () => {
          isBroken ||= broken();
          if (isBroken) throw new Error('unreachable');
          return step();
        };
        return prepared;
      };
      return connection;
    },
  };
}
