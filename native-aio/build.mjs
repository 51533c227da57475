#!/usr/bin/env node
// Builds the addon with cargo, puts it where index.js looks, and prints its types into addon.d.ts.
// `--check` fails instead when the checked-in types differ from those of the code.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const here = new URL('.', import.meta.url).pathname;
const typesPath = join(here, 'addon.d.ts');
const check = process.argv.includes('--check');

function build(typesFolder) {
  // The types are a by-product of compiling: without a change there would be none.
  utimesSync(join(here, 'src/lib.rs'), new Date(), new Date());
  const cargo = spawnSync('cargo', ['build', '--release', '--locked', '--quiet'], {
    cwd: here,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, NAPI_TYPE_DEF_TMP_FOLDER: typesFolder },
  });
  if (cargo.status !== 0) process.exit(cargo.status ?? 1);
}

function typesOf(typesFolder) {
  const items = readdirSync(typesFolder)
    .flatMap((file) => readFileSync(join(typesFolder, file), 'utf8').split('\n'))
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const indented = (text) =>
    text
      .split('\n')
      .map((line) => line.trim())
      .map((line) => `  ${line.startsWith('*') ? ' ' : ''}${line}`)
      .join('\n');
  const parts = items
    .filter(({ kind }) => kind !== 'impl')
    .map((item) => {
      if (item.kind === 'fn') return `${item.js_doc}export declare ${item.def};\n`;
      const members = items.find(({ kind, name }) => kind === 'impl' && name === item.name)?.def ?? '';
      return `${item.js_doc}export declare class ${item.name} {\n${indented(members)}\n}\n`;
    });
  return `// Printed by build.mjs from src/lib.rs: do not edit.\n\n${parts.join('\n')}`;
}

function install() {
  const { glibcVersionRuntime } = process.report.getReport().header;
  const libc = glibcVersionRuntime === undefined ? 'musl' : 'gnu';
  const addon = join(here, `native-aio.linux-${process.arch}-${libc}.node`);
  // In one step: running processes have the old file mapped.
  const fresh = `${addon}.${process.pid}`;
  copyFileSync(join(here, 'target/release/libnative_aio.so'), fresh);
  renameSync(fresh, addon);
}

const typesFolder = mkdtempSync(join(tmpdir(), 'native-aio-'));
try {
  build(typesFolder);
  if (!check) install();
  const types = typesOf(typesFolder);
  if (!check) writeFileSync(typesPath, types);
  else if (readFileSync(typesPath, 'utf8') !== types) {
    process.stderr.write('native-aio/addon.d.ts is not what the code says: run node native-aio/build.mjs\n');
    process.exitCode = 1;
  }
} finally {
  rmSync(typesFolder, { recursive: true });
}
