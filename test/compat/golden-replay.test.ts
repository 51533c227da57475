import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cNodeMissing, startCNode } from '../interop/c-node.ts';
import { daemonFor, temporaryDirectory } from '../support/daemon.ts';
import { describeResponse } from './describe.ts';
import {
  differencesTable,
  type IntendedDifference,
  intended,
  intendedDifferences,
} from './intended-differences.ts';
import { type Recorded, recording, substituted } from './recordings.ts';
import { type Comparison, expectation, replay } from './replay.ts';

t.setTimeout(300_000);

/** Recordings that one node can answer; those in one group were made on one server, in this order. */
const groups = [
  ['01-handshake'],
  ['02-session'],
  ['03-types'],
  ['04-batches'],
  ['05-errors'],
  ['06-framing'],
  ['07-busy-tx'],
  ['20-go-dqlite-v3', '21-shell-1.11.5'],
] as const;

/** What the recorded server waited for a writer's turn in 07. */
const flags = ['--busy-timeout', '300'];

// The harness is proven by a server that nobody here wrote, in the version that the second set was recorded from.
t.test(
  'the C library answers its own recording, masks aside',
  { skip: cNodeMissing() ?? false },
  async (t) => {
    for (const files of groups) {
      const node = await startCNode({ directory: await temporaryDirectory(t) });
      t.teardown(() => node.kill());
      for (const file of files) {
        const comparisons = await replay(recording('debian-1.11.1', file), node);
        t.same(comparisons.filter(isDifferent), [], `${file}: ${comparisons.length} responses`);
      }
      await node.kill();
    }
  },
);

t.test(
  'every recorded request is answered as 1.18.6 did, the listed differences aside',
  async (t) => {
    const met = new Set<unknown>();
    for (const files of groups) {
      const daemon = await daemonFor(t, flags);
      for (const file of files) {
        const comparisons = await replay(recording('master-1.18.6', file), daemon);
        for (const one of comparisons) met.add(intended(file, one));
        t.same(unexplained(file, comparisons), [], `${file}: ${comparisons.length} responses`);
      }
      await daemon.kill();
    }

    const daemon = await daemonFor(t, flags);
    for (const events of eachInItsOwnDatabase(recording('master-1.18.6', '11-crashes'))) {
      const comparisons = await replay(events, daemon);
      for (const one of comparisons) met.add(intended('11-crashes', one));
      t.same(unexplained('11-crashes', comparisons), [], `11-crashes ${events[0]?.connection}`);
    }

    t.same(
      intendedDifferences.filter((row) => isReplayedHere(row) && !met.has(row)),
      [],
      'no row of the list is out of date',
    );
  },
);

t.test('docs/compatibility.md prints the list', (t) => {
  const file = join(import.meta.dirname, '../../docs/compatibility.md');
  const begin = '<!-- intended differences -->\n\n';
  const end = '\n\n<!-- end of intended differences -->';
  const table = differencesTable(({ file, case: name, connection }) => {
    const events = recording('master-1.18.6', file).filter(
      (event) =>
        event.direction === 's2c' &&
        event.name === name &&
        (connection === undefined || event.connection === connection),
    );
    const last = events.map(expectation).findLast((received) => received !== undefined);
    return last === undefined ? '' : describeResponse(last);
  });
  const page = readFileSync(file, 'utf8');
  const [from, to] = [page.indexOf(begin) + begin.length, page.indexOf(end)];
  if (t.writeSnapshot) writeFileSync(file, page.slice(0, from) + table + page.slice(to));
  else t.equal(page.slice(from, to), table, 'TAP_SNAPSHOT=1 rewrites it');
  t.end();
});

/** Each connection of this file was recorded on a server of its own; here one server sees them all. */
function eachInItsOwnDatabase(events: readonly Recorded[]): Recorded[][] {
  const connections = [...new Set(events.map(({ connection }) => connection))];
  return connections.map((label, i) => {
    const name = `t${String(i).padStart(2, '0')}x\0`;
    return events
      .filter(({ connection }) => connection === label)
      .map((event) => ({ ...event, bytes: substituted(event.bytes, 'test\0', name) }));
  });
}

/** Recordings of several servers are replayed in cluster-replay.test.ts. */
function isReplayedHere({ file }: IntendedDifference): boolean {
  return file === '11-crashes' || groups.flat().some((name) => name === file);
}

function isDifferent({ equal, cutShort }: Comparison): boolean {
  return !equal && !cutShort;
}

function unexplained(file: string, comparisons: readonly Comparison[]): Comparison[] {
  return comparisons.filter((one) => isDifferent(one) && intended(file, one) === undefined);
}
