import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import t from 'tap';
import { run } from '../../src/cli/main.ts';
import { daemonFor, startDaemon } from '../support/daemon.ts';
import { outside } from '../support/outside.ts';

/** The exit codes of the reference: done, failed, misused. */
const [done, failed, misused] = [0, 1, 2];

const root = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'dqlited-cli-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process, with nothing on its stdin but `input`. */
async function dqlited(args: readonly string[], input = ''): Promise<Ended> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await run(args, { in: Readable.from([input]), out, err, environment: {} });
  return { code, out: String(out.read() ?? ''), err: String(err.read() ?? '') };
}

/** The same as a process of its own. */
function dqlitedProcess(args: readonly string[]): Promise<Ended> {
  const child = spawn(...outside(join(root, 'bin/dqlited'), args), { cwd: directory });
  let [out, err] = ['', ''];
  child.stdout.on('data', (bytes) => {
    out += bytes;
  });
  child.stderr.on('data', (bytes) => {
    err += bytes;
  });
  child.stdin.end();
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

t.test('misuse ends with code 2 and a sentence, not with a stack', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: dqlited/],
    [['nonsense'], /unknown command 'nonsense'/],
    [['start', '--voters', '4'], /--voters must be odd/],
    [['start', '--id', 'x', '--log-level', 'y'], /2 settings need attention/],
    [['sql', 'app', 'SELECT 1', '--format', 'xml'], /Allowed choices are table, json, csv/],
    [['sql', '-s', 'nowhere:0', 'app', 'SELECT 1'], /It must be one or more of HOST:PORT/],
    [['cluster', 'assign', '1', 'king'], /It must be one of voter, standby, spare/],
    [['doctor', join(directory, 'none')], /there is no directory/],
    [['status', '--data-dir', join(directory, 'none')], /no daemon runs on/],
  ];
  for (const [args, message] of cases) {
    const ended = await dqlited(args);
    t.equal(ended.code, misused, args.join(' '));
    t.match(ended.err, message, args.join(' '));
    t.equal(ended.out, '', args.join(' '));
    t.notMatch(ended.err, /\n {4}at /, args.join(' '));
  }
});

t.test('help and version go to stdout and succeed', async (t) => {
  const help = await dqlited(['start', '--help']);
  const version = await dqlitedProcess(['--version']);

  t.match(help, { code: done, err: '' });
  t.match(help.out, /Limits:[\s\S]*--busy-timeout <MS>[\s\S]*Examples:/);
  t.match(version, { code: done, out: /^\d+\.\d+\.\d+\n$/ });
});

t.test('the executable ends with the code of its command and prints no stack', async (t) => {
  const ended = await dqlitedProcess(['start', '--voters', '4']);

  t.match(ended, { code: misused, out: '', err: /^dqlited: --voters must be odd[^\n]*\n$/ });
});

t.test('when no server answers a command fails in time and names what it tried', async (t) => {
  const ended = await dqlited([
    'sql',
    '-s',
    '127.0.0.1:21499',
    '--timeout',
    '300',
    'app',
    'SELECT 1',
  ]);

  t.match(ended, { code: failed, out: '' });
  t.match(
    ended.err,
    /found no leader \(127\.0\.0\.1:21499: nothing listens on 127\.0\.0\.1:21499\)/,
  );
});

t.test('one server, from the command line', async (t) => {
  const daemon = await daemonFor(t);
  const servers = ['-s', daemon.address];
  const sql = (text: string, ...flags: string[]): Promise<Ended> =>
    dqlited(['sql', ...servers, 'app', text, ...flags]);

  await t.test('sql runs several statements and prints rows in three formats', async (t) => {
    const table = await sql(
      "CREATE TABLE a (id INTEGER PRIMARY KEY, b TEXT, c BOOLEAN); INSERT INTO a VALUES (9007199254740993, 'x;y', 1); SELECT * FROM a;",
    );
    const json = await sql('SELECT * FROM a', '--format', 'json');
    const csv = await sql('SELECT * FROM a', '--format', 'csv');

    t.match(table, { code: done, err: '' });
    t.equal(
      table.out,
      '              id  b    c\n----------------  ---  -\n9007199254740993  x;y  1\n',
    );
    t.equal(json.out, '[\n  {"id": 9007199254740993, "b": "x;y", "c": true}\n]\n');
    t.equal(csv.out, 'id,b,c\n9007199254740993,x;y,1\n');
  });

  await t.test(
    'a statement that fails is one line and code 1; those before it stay done',
    async (t) => {
      const ended = await sql(
        'CREATE TABLE b (x); INSERT INTO nope VALUES (1); CREATE TABLE c (x)',
      );

      t.match(ended, { code: failed, out: '', err: 'dqlited: no such table: nope\n' });
      t.match(
        (await sql("SELECT name FROM sqlite_schema WHERE name IN ('b', 'c')", '--format', 'csv'))
          .out,
        /^name\nb\n$/,
      );
    },
  );

  await t.test(
    'a script comes on stdin, and an open transaction at its end is rolled back',
    async (t) => {
      const ended = await dqlited(
        ['sql', ...servers, 'app'],
        'BEGIN;\nINSERT INTO b\nVALUES (1);\n',
      );

      t.match(ended, { code: done, out: '' });
      t.match(ended.err, /rolled back: COMMIT is missing/);
      t.equal((await sql('SELECT count(*) AS n FROM b', '--format', 'csv')).out, 'n\n0\n');
    },
  );

  await t.test(
    'the shell takes statements over several lines, commands, and shows an open transaction',
    async (t) => {
      const terminal = (stream: PassThrough): PassThrough & { isTTY: boolean } =>
        Object.assign(stream, { isTTY: true });
      const [input, out, err] = [
        terminal(new PassThrough()),
        terminal(new PassThrough()),
        new PassThrough(),
      ];
      const environment = { NO_COLOR: '1', HOME: directory };
      const ended = run(['sql', ...servers, 'app'], { in: input, out, err, environment });
      for (const line of [
        '.tables',
        'SELECT',
        ' 41 + 1 AS answer;',
        'nonsense;',
        'BEGIN;',
        'INSERT INTO b VALUES (1);',
        'ROLLBACK;',
        '.nope',
        '.quit',
      ]) {
        input.write(`${line}\r`);
      }

      t.equal(await ended, done);
      const screen = String(out.read());
      t.match(screen, /a\nb\n/);
      t.match(screen, /answer\n------\n {4}42\n/);
      t.match(screen, /app\*> /);
      t.match(String(err.read()), /error: near "nonsense": syntax error\n[\s\S]*no command \.nope/);
      t.match(readFileSync(join(directory, '.dqlited_history'), 'utf8'), /^ 41 \+ 1 AS answer;$/m);
      t.equal((await sql('SELECT count(*) AS n FROM b', '--format', 'csv')).out, 'n\n0\n');
    },
  );

  await t.test('cluster list, leader and describe read in text and in JSON', async (t) => {
    const list = await dqlited(['cluster', 'list', ...servers, '--json']);
    const text = await dqlited(['cluster', 'list', ...servers]);
    const leader = await dqlited(['cluster', 'leader', ...servers]);

    t.strictSame(JSON.parse(list.out), [
      {
        id: 1,
        address: daemon.address,
        role: 'voter',
        leader: true,
        reachable: true,
        failureDomain: 0,
        weight: 0,
      },
    ]);
    t.match(
      text.out,
      /^ID +ADDRESS +ROLE +REACHABLE +DOMAIN +WEIGHT\n1 +127.* +voter \(leader\) +yes +0 +0\n$/,
    );
    t.equal(leader.out, `${daemon.address}\n`);
    t.match(await dqlited(['cluster', 'weight', ...servers, '1', '7']), { code: done });
    t.match(JSON.parse((await dqlited(['cluster', 'describe', ...servers, '1', '--json'])).out), {
      weight: 7,
    });
  });

  await t.test('the only voter can be neither removed nor demoted', async (t) => {
    for (const change of [
      ['remove', '1'],
      ['assign', '1', 'spare'],
    ]) {
      const ended = await dqlited(['cluster', change[0] ?? '', ...servers, ...change.slice(1)]);
      t.match(ended, { code: failed, err: /the only voter can be neither removed nor demoted/ });
    }
    t.match(await dqlited(['cluster', 'remove', ...servers, '99']), {
      code: misused,
      err: /no server 99 in the cluster/,
    });
  });

  await t.test('dump writes a plain SQLite file, whole or not at all', async (t) => {
    const file = join(directory, 'app.db');

    t.match(await dqlited(['dump', ...servers, 'app', file]), {
      code: done,
      out: '',
      err: /^wrote \d+ bytes/,
    });
    t.match(
      await sqlite3(file, 'PRAGMA integrity_check; PRAGMA journal_mode; SELECT b FROM a'),
      'ok\ndelete\nx;y\n',
    );
    t.match(await dqlited(['dump', ...servers, 'nope', join(directory, 'nope.db')]), {
      code: failed,
      err: /does not exist/,
    });
    t.notOk(existsSync(join(directory, 'nope.db')));
    t.strictSame(
      readdirSync(directory).filter((name) => name.endsWith('.tmp')),
      [],
    );
  });
});

t.test('status and doctor read the data directory of a server', async (t) => {
  const dataDir = join(directory, 'server');
  const daemon = await startDaemon({ directory: dataDir, id: 3 });
  t.teardown(() => daemon.kill());

  const status = await dqlited(['status', '--data-dir', dataDir, '--json']);
  t.match(JSON.parse(status.out), {
    id: 3,
    state: 'leader',
    role: 'voter',
    ready: true,
    leader: { id: 3 },
  });
  t.match((await dqlited(['status', '--data-dir', dataDir])).out, /leader +3 at 127/);
  t.match(await dqlitedProcess(['start', '--data-dir', dataDir]), {
    code: misused,
    err: /in use|uses/,
  });

  t.equal(await daemon.stop(), 0);
  t.notOk(
    readdirSync(dataDir).some((name) => name.startsWith('open-')),
    'a graceful stop closes the log',
  );
  const doctor = await dqlited(['doctor', dataDir, '--json']);
  t.match(doctor, { code: done });
  t.match(JSON.parse(doctor.out), { identity: { id: 3 }, startable: true, lastIndex: 2 });
  const other = await dqlitedProcess([
    'start',
    '--data-dir',
    dataDir,
    '--address',
    '127.0.0.1:21498',
  ]);
  t.match(other, { code: failed, err: /belongs to server 3 at 127\.0\.0\.1/ });
});

/** What SQLite's own shell answers. */
function sqlite3(file: string, text: string): Promise<string> {
  const child = spawn('sqlite3', [file, text]);
  let out = '';
  child.stdout.on('data', (bytes) => {
    out += bytes;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve(out));
  });
}
