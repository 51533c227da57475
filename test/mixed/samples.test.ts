import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Cluster } from '../../src/client/cluster.ts';
import { connect } from '../../src/client/index.ts';
import { readCluster, readIdentity } from '../../src/storage/app-files.ts';
import { errorLines, temporaryDirectory } from '../support/daemon.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { disagreements } from './images.ts';
import { LATENCY_MS } from './mixed-cluster.ts';
import { startOn } from './start-on.ts';

// Many processes: a busy machine needs longer than other tests are given.
t.setTimeout(600_000);

const fixtures = join(import.meta.dirname, '../fixtures/samples');

interface Sample {
  readonly archive: string;
  /** Directory and port of each server; its id is the place in the list unless a file says otherwise. */
  readonly servers: readonly (readonly [directory: string, port: number])[];
  /** `--id` and `--address` have to be given: the directory does not say which of several members it is. */
  readonly isAnonymous?: boolean;
  /** Rows by database and query, and databases that must not be there. */
  readonly content: readonly (readonly [database: string, query: string, rows: unknown])[];
  readonly absent?: readonly string[];
}

function rowsOf(name: string): unknown {
  return JSON.parse(readFileSync(join(fixtures, name), 'utf8'));
}

function threeServers(basePort: number): Sample['servers'] {
  return [1, 2, 3].map((id) => [`n${id}`, basePort + id] as const);
}

const allOfTest = 'SELECT id, v, length(b) FROM t ORDER BY id';
const second = [
  'second',
  'SELECT x FROM s ORDER BY x',
  rowsOf('rows_second_at_crash.json'),
] as const;
const atCrash = [['test', allOfTest, rowsOf('rows_test_at_crash.json')] as const, second];
const atClean = [['test', allOfTest, rowsOf('rows_test_at_clean.json')] as const, second];

/** What test/fixtures/samples/README.md and the recorded rows promise. */
const samples: readonly Sample[] = [
  { archive: 'v111_crash', servers: threeServers(21100), isAnonymous: true, content: atCrash },
  { archive: 'v111_clean', servers: threeServers(21100), isAnonymous: true, content: atClean },
  { archive: 'head_crash', servers: threeServers(21300), isAnonymous: true, content: atCrash },
  { archive: 'head_clean', servers: threeServers(21300), isAnonymous: true, content: atClean },
  {
    archive: 'mixed_HEADleader_crash',
    servers: threeServers(22100),
    isAnonymous: true,
    content: atCrash,
  },
  {
    archive: 'mixed_v111leader_crash',
    servers: threeServers(22300),
    isAnonymous: true,
    content: atCrash,
  },
  {
    archive: 'truncated_log_head_crash',
    servers: threeServers(25100),
    isAnonymous: true,
    content: [
      ['test', 'SELECT x FROM t ORDER BY x', [0, 1, 2, 3, 4, 100, 101, 102, 103].map((x) => [x])],
    ],
    absent: ['lost1', 'lost2'],
  },
  {
    archive: 'v111_defaults_1100rows_crash',
    servers: [['v111_defaults', 26301]],
    content: [
      ['test', "SELECT count(*), sum(id), sum(v = 'v' || id) FROM t", [[1100, 605550, 1100]]],
    ],
  },
  {
    archive: 'head_multipage_vacuum_delete_crash',
    servers: [['head_multi', 26302]],
    content: [
      ['test', 'SELECT count(*), sum(id) FROM t', [[201, 41000]]],
      ['test', 'SELECT b FROM t WHERE id = 1000', [['after vacuum']]],
      ['other', 'SELECT x FROM o', [['hello']]],
    ],
    absent: ['gone'],
  },
  {
    archive: 'snapshot_uncompressed_head_crash',
    servers: [['base_unc', 23006]],
    content: [['test', 'SELECT x FROM t ORDER BY x', Array.from({ length: 40 }, (_, x) => [x])]],
  },
  {
    archive: 'recovered_config_term1',
    servers: [['rec', 21101]],
    isAnonymous: true,
    content: atClean,
  },
];

for (const sample of samples) {
  t.test(`the daemon serves the rows of ${sample.archive}`, { timeout: 60_000 }, async (t) => {
    const daemons = await startSample(t, sample);
    const servers = sample.servers.map(([, port]) => `127.0.0.1:${port}`);
    for (const [name, query, rows] of sample.content) {
      const database = await connect({ servers, database: name, connections: 1 });
      t.teardown(() => database.close());
      const found = await database.query(query).all();
      t.same(
        found.map((row) => Object.values(row)),
        rows,
        `${name}: ${query}`,
      );
      await database.exec('CREATE TABLE IF NOT EXISTS after (v)');
      const images = disagreements(servers, name, 'SELECT count(*) FROM after', '0');
      t.same(await images, [], `the same bytes of ${name} on all servers after a write`);
    }
    for (const name of sample.absent ?? []) {
      const database = await connect({ servers, database: name, connections: 1 });
      t.teardown(() => database.close());
      t.same(await database.query('SELECT * FROM sqlite_schema').all(), [], `${name} is empty`);
    }
    for (const daemon of daemons) t.same(errorLines(daemon), []);
  });
}

/** Unpacks an archive and starts a daemon on each directory. */
async function startSample(t: Test, sample: Sample): Promise<ServerProcess[]> {
  const base = await unpack(t, sample.archive);
  return Promise.all(
    sample.servers.map(async ([name, port], i) => {
      const flags = [
        ...['--data-dir', join(base, name), '--network-latency', String(LATENCY_MS)],
        ...(sample.isAnonymous ? ['--id', String(i + 1), '--address', `127.0.0.1:${port}`] : []),
      ];
      return startOn(t, port, flags);
    }),
  );
}

async function unpack(t: Test, archive: string): Promise<string> {
  const directory = join(await temporaryDirectory(t), archive);
  await mkdir(directory);
  execFileSync('tar', ['-xzf', join(fixtures, `${archive}.tar.gz`), '-C', directory]);
  return directory;
}

t.test('directories of a go-dqlite application need no more than --data-dir', async (t) => {
  const base = await unpack(t, 'goapp_dirs');
  const ports = [23901, 23902, 23903, 23904];
  const known = await Promise.all(ports.map((_, i) => readIdentity(join(base, `n${i + 1}`))));
  await Promise.all(
    ports.map((port, i) => {
      const flags = ['--data-dir', join(base, `n${i + 1}`), '--network-latency', '20'];
      return startOn(t, port, flags);
    }),
  );
  const servers = ports.map((port) => `127.0.0.1:${port}`);
  const { members } = await new Cluster(servers).members(AbortSignal.timeout(20_000));

  t.same(
    members.map(({ id, address }) => ({ id, address })),
    known,
    'ids and addresses of info.yaml are the members',
  );
  const database = await connect({ servers, database: 'app' });
  t.teardown(() => database.close());
  await database.exec('CREATE TABLE a (v)');
  t.same(
    (await readCluster(join(base, 'n2')))?.map(({ id, address }) => ({ id, address })),
    known,
    'and cluster.yaml goes on naming them',
  );
});
