/**
 * What one request costs a session, without sockets, disk and other servers: microseconds of this thread's processor
 * time. Usage: node --import=tsx bench/requests.ts [SECONDS] [WORKLOAD ...]. With --cpu-prof it shows where they go.
 */
import { readFileSync } from 'node:fs';
import { Gateway } from '../src/gateway/gateway.ts';
import { defaultSessionLimits } from '../src/gateway/limits.ts';
import type { Session } from '../src/gateway/session.ts';
import { loadEngine } from '../src/server/engine-loader.ts';
import { nodeClock } from '../src/server/node-clock.ts';
import { SqlStateMachine } from '../src/sql/state-machine.ts';
import { PageStore } from '../src/vfs/page-store.ts';
import { FakeConsensus, selfId } from '../test/support/fake-consensus.ts';
import { handshake, type Parameter, request } from '../test/support/wire.ts';

const seconds = Number(process.argv[2] ?? 1);
const wanted = process.argv.slice(3);
const rows = 10_000;

const store = new PageStore();
const machine = new SqlStateMachine({
  clock: nodeClock,
  store,
  limits: { maxDatabases: 10, maxSpeculativeTransactions: 1000, maxSpeculativePages: 100_000 },
  onStopped: (reason) => {
    throw new Error(reason);
  },
});
const consensus = new FakeConsensus();
consensus.machine = machine;
consensus.committing = false;
const gateway = new Gateway({
  machine,
  consensus,
  clock: nodeClock,
  // As the daemon has it.
  limits: { ...defaultSessionLimits, slowStatementMs: 1000 },
  engine: loadEngine('sqlite-wasm')(store),
  replaceEngine: () => Promise.reject(new Error('SQLite failed')),
  server: { id: selfId, failureDomain: 0n },
  onSlowStatement: () => {},
});
consensus.lead();

/** Nanoseconds that this thread has run. */
function threadNs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]);
}

let received = 0;
let written = 0;

function connect(): Session {
  const session = gateway.accept({
    write: (bytes) => {
      received++;
      written += bytes.length;
      return true;
    },
    bufferedBytes: 0,
    readNow: () => Buffer.alloc(0),
    pauseReading: () => {},
    resumeReading: () => {},
    close: () => {
      throw new Error('the session was closed');
    },
    becomePeer: () => {},
  });
  session.receive(handshake);
  session.receive(request.open('bench'));
  return session;
}

function exec(session: Session, sql: string, ...values: Parameter[]): void {
  session.receive(request.execSql(sql, values));
  consensus.commit();
  consensus.proposed.length = 0;
}

const session = connect();
const others = Array.from({ length: 64 }, connect);
exec(session, 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER)');
exec(
  session,
  `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ${rows})
   INSERT INTO t SELECT x, 'value number ' || x || ' with some more text to make a row that is as long as the ones of the load program: a hundred', x FROM c`,
);

const text = '0123456789'.repeat(10);
const pointRead = 'SELECT v FROM t WHERE id = ?';
const insert = 'INSERT INTO t(v, n) VALUES(?, ?)';
const prepared = (sql: string): void => {
  for (const one of [session, ...others]) one.receive(request.prepare(sql));
};
prepared(pointRead);
prepared(insert);
prepared('SELECT id, v, n FROM t WHERE id > ? LIMIT 1000');
prepared('UPDATE t SET n = n + 1 WHERE id = ?');

let count = 0;
const id = (): bigint => BigInt(((count++ * 7919) % rows) + 1);

/** Workloads of 64 sessions, each of which has its turn. */
const ofMany: ReadonlySet<string> = new Set([
  'read by 64 sessions, prepared',
  'read by 64 sessions',
  'nine reads and an update by 64 sessions, prepared',
  'range of 1000 rows by 64 sessions, prepared',
]);

/** One request each; those that write commit at once. */
const workloads: Readonly<Record<string, () => Buffer>> = {
  'read, prepared': () => request.query(0, [id()]),
  read: () => request.querySql(pointRead, [id()]),
  'range of 1000 rows, prepared': () => request.query(2, [id() % 9000n]),
  'insert, prepared': () => request.exec(1, [text, 1n]),
  insert: () => request.execSql(insert, [text, 1n]),
  'update, prepared': () => request.exec(3, [id()]),
  'read by 64 sessions, prepared': () => request.query(0, [id()]),
  'read by 64 sessions': () => request.querySql(pointRead, [id()]),
  'nine reads and an update by 64 sessions, prepared': () =>
    count % 10 === 0 ? request.exec(3, [id()]) : request.query(0, [id()]),
  'range of 1000 rows by 64 sessions, prepared': () => request.query(2, [id() % 9000n]),
};

for (const [name, make] of Object.entries(workloads)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  // Encoding requests is the client's work: it is not measured.
  const requests = Array.from({ length: 1000 }, make);
  const sessions = ofMany.has(name) ? others : [session];
  const run = async (forMs: number): Promise<number> => {
    let done = 0;
    const end = performance.now() + forMs;
    for (;;) {
      for (const one of requests) {
        if (performance.now() >= end) return done;
        const turn = sessions[done % sessions.length] ?? session;
        turn.receive(one);
        if (consensus.waiting.length > 0) {
          consensus.commit();
          consensus.proposed.length = 0;
        }
        while (turn.task.busy) await new Promise((resolve) => setImmediate(resolve));
        done++;
      }
    }
  };
  await run(seconds * 500);
  received = 0;
  written = 0;
  const before = threadNs();
  const done = await run(seconds * 1000);
  const micros = (threadNs() - before) / 1000 / done;
  process.stdout.write(
    `${name.padEnd(50)} ${micros.toFixed(2).padStart(8)} us   ${(written / done) | 0} bytes in ${(received / done).toFixed(1)} writes\n`,
  );
}
process.exit(0);
