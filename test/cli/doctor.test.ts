import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import { createProgram } from '../../src/cli/program.ts';
import { readWhole } from '../../src/storage/disk.ts';
import { makeDirectory, type Outcome, directory as where } from '../storage/damage.ts';
import { rows } from '../storage/damage-rows.ts';
import type { MemoryDisk } from '../storage/memory-disk.ts';
import { temporaryDirectory } from '../support/daemon.ts';

// What a start makes of each of these is shown in test/storage/recovery.test.ts.
for (const { damage, make, outcome } of rows) {
  t.test(`doctor foretells the start: ${damage}`, async (t) => {
    const disk = await makeDirectory();
    const expected = typeof outcome === 'function' ? await outcome(disk) : outcome;
    await make(disk);
    const copy = await copied(t, disk);
    const before = await contents(copy);

    const text = await doctor([copy]);
    const json = await doctor([copy, '--json']);

    t.same(await contents(copy), before, 'nothing is touched');
    t.equal(text.failure, json.failure);
    check(t, copy, expected, text, JSON.parse(json.out));
  });
}

interface Finding {
  readonly severity: 'warning' | 'error';
  readonly path: string;
  readonly offset?: number;
  readonly what: string;
  readonly nextStep: string;
}

interface Report {
  readonly startable: boolean;
  readonly lastIndex: number;
  readonly findings: readonly Finding[];
}

function check(t: Test, copy: string, expected: Outcome, text: Said, report: Report): void {
  const { loaded, refused, aside = [] } = expected;
  for (const { severity, path, offset, what, nextStep } of report.findings) {
    const place = offset === undefined ? path : `${path} at byte ${offset}`;
    t.ok(text.out.includes(`${severity}: ${place}: ${what}\n  ${nextStep}\n`), place);
  }
  const errors = report.findings.filter(({ severity }) => severity === 'error');
  if (refused !== undefined) {
    const { path, ...rest } = refused;
    const [first] = errors;
    t.match(first, { ...rest, path: path.replace(where, copy) }, 'what the refusal says');
    t.match(text.failure, /a server does not start on/);
    return;
  }
  t.same(errors, []);
  t.equal(text.failure, undefined);
  t.equal(report.lastIndex, loaded?.[2]);
  // What is moved aside has its warning; a snapshot and its description share one.
  for (const name of aside) {
    const start = join(copy, name.replace('.meta', ''));
    t.ok(
      report.findings.some(({ path }) => path.startsWith(start)),
      `${name} is named`,
    );
  }
}

interface Said {
  readonly out: string;
  /** Undefined when the exit code would be 0. */
  readonly failure: string | undefined;
}

async function doctor(args: readonly string[]): Promise<Said> {
  const out = new PassThrough();
  const parts: Buffer[] = [];
  out.on('data', (chunk) => parts.push(chunk));
  const terminal = { in: new PassThrough(), out, err: new PassThrough(), environment: {} };
  const program = createProgram(terminal, '0');
  const run = program.parseAsync(['doctor', ...args], { from: 'user' });
  const failure = await run.then(
    () => undefined,
    (error: Error) => error.message,
  );
  return { out: Buffer.concat(parts).toString(), failure };
}

async function copied(t: Test, disk: MemoryDisk): Promise<string> {
  const copy = join(await temporaryDirectory(t), 'data');
  await mkdir(copy);
  for (const name of await disk.list(where)) {
    await writeFile(join(copy, name), await readWhole(disk, `${where}/${name}`));
  }
  return copy;
}

async function contents(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  const digest = async (name: string) =>
    createHash('sha1')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  return Promise.all(names.map(async (name) => `${name} ${await digest(name)}`));
}
