import t, { type Test } from 'tap';
import { cNodeMissing } from '../interop/c-node.ts';
import { type Load, startGoLoad, startOwnLoad } from './load.ts';
import { Operator } from './operator.ts';

// Many processes: a busy machine needs longer than other tests are given.
t.setTimeout(600_000);

/**
 * A C server of 1.11 that hands over leadership while it answers a query ends now and then; a cluster of nothing but C
 * servers does too. The test begins anew when that happened, and only then.
 */
const ATTEMPTS = 3;

t.test(
  'a cluster moves from C to dqlited and back under load, as docs/migration.md says',
  { skip: cNodeMissing() ?? false, timeout: 300_000 },
  async (t) => {
    t.teardown(killLoads);
    for (let attempt = 1; ; attempt++) {
      const operator = await Operator.ofCCluster(t);
      try {
        await migrate(t, operator);
        return;
      } catch (error) {
        const lost = operator.endedByItself('C');
        if (lost === undefined || attempt === ATTEMPTS) throw error;
        t.comment(`attempt ${attempt}: ${lost}: there is no cluster to move any more, once again`);
        killLoads();
        await operator.stopAllBut([]);
      }
    }
  },
);

async function migrate(t: Test, operator: Operator): Promise<void> {
  const addresses = operator.addressesOf('export DQLITED_SERVERS=(.*)');

  const there = await startLoads(t, 'there', addresses);
  await operator.follow('Server by server');
  await stopLoads(t, operator, there, 'C to dqlited');
  await operator.stopAllBut([11, 12, 13]);
  for (const [database, { rows }] of there) {
    t.same(await operator.lost(database, rows), [], `${rows} rows of ${database} on ours`);
  }

  const back = await startLoads(t, 'back', addresses);
  await operator.follow('And back');
  await stopLoads(t, operator, back, 'dqlited to C');
  await operator.stopAllBut([1, 2, 3]);
  for (const [database, { rows }] of [...there, ...back]) {
    t.same(await operator.lost(database, rows), [], `${rows} rows of ${database} on C`);
  }
}

/** Loads by database; how many rows each has in the end. */
type Loads = Map<string, { load: Load; rows: number }>;

/** Every load that was started: none outlives its attempt. */
const started: Load[] = [];

function killLoads(): void {
  for (const load of started.splice(0)) load.kill();
}

async function startLoads(t: Test, phase: string, addresses: readonly string[]): Promise<Loads> {
  const loads: Loads = new Map();
  loads.set(`${phase}-own`, { load: await startOwnLoad(`${phase}-own`, addresses), rows: 0 });
  const go = await startGoLoad(`${phase}-go`, addresses);
  if (go === undefined) t.comment('without go-dqlite: go build fails in test/mixed/go-load');
  else loads.set(`${phase}-go`, { load: go, rows: 0 });
  for (const { load } of loads.values()) started.push(load);
  return loads;
}

async function stopLoads(t: Test, operator: Operator, loads: Loads, phase: string): Promise<void> {
  for (const [database, entry] of loads) {
    const { acknowledged, repeated, failed, wrong } = await entry.load.stop();
    t.equal(operator.endedByItself('dqlited'), undefined, 'none of ours ended');
    if (operator.endedByItself('C') !== undefined) throw new Error('a C server ended by itself');
    entry.rows = acknowledged;
    t.same({ failed, wrong }, { failed: [], wrong: [] }, `${phase}: ${database}`);
    t.ok(acknowledged > 50, `${acknowledged} rows, ${repeated} writes refused with code 7`);
  }
}
