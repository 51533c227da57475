import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { daemonFor, temporaryDirectory } from '../support/daemon.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { cNodeMissing, startCNode } from './c-node.ts';
import { goReport, pythonReport } from './reports.ts';
import { goProgram, pythonProgram, shellProgram, type Tool } from './tools.ts';

const execute = promisify(execFile);
const DEADLINE_MS = 60_000;

interface Program {
  readonly name: string;
  readonly tool: Tool;
  readonly report: (database: string) => Record<string, unknown>;
  /** Where the C library 1.11.1 reports something else. */
  readonly onCNode: Record<string, unknown>;
}

// The first run downloads and builds the programs.
t.setTimeout(600_000);

const programs: readonly Program[] = [
  {
    name: 'go-dqlite 3.0.4',
    tool: goProgram('v3'),
    report: (database) => goReport(database, 300),
    onCNode: { manyParameters: 'failed: not an error', writers: { rows: 200, locked: true } },
  },
  {
    name: 'go-dqlite 1.11.5',
    tool: goProgram('v1'),
    report: (database) => goReport(database, 200),
    onCNode: { writers: { rows: 200, locked: true } },
  },
  {
    name: 'dqlite-client, dqlite-dbapi and sqlalchemy-dqlite 0.8.0',
    tool: pythonProgram(),
    report: pythonReport,
    onCNode: {},
  },
];

for (const { name, tool, report } of programs) {
  t.test(`a program on ${name} works unchanged`, { skip: tool.missing ?? false }, async (t) => {
    const daemon = await daemonFor(t);
    t.same(await reportOf(tool, daemon, 'app'), report('app'));
  });
}

// The programs themselves are proven by a server that nobody here wrote.
t.test('the same programs on the C library', { skip: cNodeMissing() ?? false }, async (t) => {
  const node = await startCNode({ directory: await temporaryDirectory(t) });
  t.teardown(() => node.kill());
  for (const [i, { name, tool, report, onCNode }] of programs.entries()) {
    if (tool.missing !== undefined) continue;
    const database = `app${i}`;
    t.same(await reportOf(tool, node, database), { ...report(database), ...onCNode }, name);
  }
});

const shell = shellProgram();
t.test(
  'the dqlite shell prints what it prints of the C library',
  { skip: shell.missing ?? cNodeMissing() ?? false },
  async (t) => {
    const node = await startCNode({ directory: await temporaryDirectory(t) });
    t.teardown(() => node.kill());
    const daemon = await daemonFor(t);

    const theirs = await shellSession(t, node);
    const ours = await shellSession(t, daemon);

    t.same(ours, theirs);
    t.match(ours, { '.leader': /ADDRESS/, 'SELECT * FROM t': /1\|one/ });
  },
);

async function reportOf(tool: Tool, server: ServerProcess, database: string): Promise<unknown> {
  if (tool.missing !== undefined) throw new Error(tool.missing);
  const args = [...tool.args, server.address, database];
  const { stdout } = await execute(tool.command, args, { timeout: DEADLINE_MS });
  return JSON.parse(stdout);
}

/** Statements and dot commands of one shell after another; what each printed, the address taken out. */
async function shellSession(t: Test, server: ServerProcess): Promise<Record<string, string>> {
  const commands = [
    'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB, yes BOOLEAN, at DATETIME)',
    "INSERT INTO t VALUES (1, 'one', x'0102', 1, '2026-01-02 03:04:05')",
    "INSERT INTO t VALUES (2, NULL, NULL, NULL, NULL), (3, '', 1.5, 0, 1700000000)",
    'SELECT * FROM t',
    'SELECT count(*) AS n, max(v) FROM t',
    "UPDATE t SET v = 'two' WHERE id = 2",
    'DELETE FROM t WHERE id = 3',
    'SELECT v FROM t ORDER BY id DESC',
    'SELECT * FROM absent',
    'INSERT INTO t(id) VALUES (1)',
    'nonsense',
    '.leader',
    '.cluster',
    '.describe ADDRESS',
    '.weight ADDRESS 7',
    '.describe ADDRESS',
    '.dump ADDRESS app',
    '.nonsense',
  ];
  const folder = await temporaryDirectory(t);
  const printed: Record<string, string> = {};
  for (const [i, command] of commands.entries()) {
    const text = command.replace('ADDRESS', server.address);
    const run = execute('dqlite', ['-s', server.address, 'app', text], {
      cwd: folder,
      timeout: DEADLINE_MS,
    });
    const { stdout, stderr } = await run.catch((error) => error);
    const output = `${stdout}${stderr}`.replaceAll(server.address, 'ADDRESS');
    printed[printed[command] === undefined ? command : `${command} (${i})`] = output;
  }
  printed.files = (await readdir(folder)).sort().join(' ');
  printed.image = (await readFile(join(folder, 'app'))).subarray(0, 15).toString();
  return printed;
}
