import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import t from 'tap';
import { printedPages } from '../scripts/docs.ts';
import { settingNames, settingOf } from '../src/server/options.ts';

/** Folder of src → folders that it may import besides itself. docs/architecture.md draws the same table. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  protocol: ['base'],
  raft: ['base', 'protocol'],
  storage: ['base', 'protocol', 'raft'],
  vfs: ['base', 'protocol'],
  sql: ['base', 'protocol', 'raft', 'vfs'],
  gateway: ['base', 'protocol', 'raft', 'vfs', 'sql'],
  client: ['base', 'protocol'],
  server: ['base', 'protocol', 'raft', 'storage', 'vfs', 'sql', 'gateway', 'client'],
  cli: ['base', 'protocol', 'client', 'server'],
};

/** Folders that decide and touch nothing: time, chance and the outside are handed to them. */
const pureFolders = ['protocol', 'raft', 'vfs', 'sql', 'gateway'];

const root = join(import.meta.dirname, '..');

/** Files of the repository, without what is made or installed. */
function filesUnder(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isFile()) return [path];
    const isMade = ['node_modules', 'dist', 'target', 'fixtures', '.git', '.tap', 'bin'].includes(
      entry.name,
    );
    return entry.isDirectory() && !isMade ? filesUnder(path) : [];
  });
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

const sources = filesUnder('src').filter((path) => path.endsWith('.ts'));
const code = ['src', 'test', 'scripts', 'bench']
  .flatMap(filesUnder)
  .filter((path) => /\.(ts|mjs)$/.test(path));

t.test('each folder of src imports only what the layer table allows', (t) => {
  const wrong: string[] = [];
  for (const path of sources) {
    const folder = path.split('/')[1] ?? '';
    for (const [, target = ''] of read(path).matchAll(/(?:from|import) '(\.[^']+)'/g)) {
      const to = relative(root, resolve(root, dirname(path), target)).split('/');
      const allowed =
        to[0] !== 'src' || to[1] === folder || mayImport[folder]?.includes(to[1] ?? '');
      if (!allowed) wrong.push(`${path} -> ${to.join('/')}`);
    }
  }
  t.strictSame(wrong, []);
  t.end();
});

t.test('pure folders import nothing of Node', (t) => {
  const wrong = sources.filter(
    (path) => pureFolders.includes(path.split('/')[1] ?? '') && /from 'node:/.test(read(path)),
  );
  t.strictSame(wrong, []);
  t.end();
});

t.test('no file of code is longer than 400 lines', (t) => {
  const long = code.filter((path) => read(path).split('\n').length > 401);
  t.strictSame(long, []);
  t.end();
});

t.test('nothing is left undone, and nothing speaks of one machine', (t) => {
  const words = [
    'TO' + 'DO',
    'FIX' + 'ME',
    'XX' + 'X',
    '/work' + '/',
    '/root' + '/',
    'shared' + '/design',
  ];
  const texts = [
    ...code,
    ...filesUnder('docs'),
    ...filesUnder('packaging'),
    'README.md',
    'CONTRIBUTING.md',
  ];
  const found = texts.flatMap((path) => {
    const text = read(path);
    return words.filter((word) => text.includes(word)).map((word) => `${path}: ${word}`);
  });
  t.strictSame(found, []);
  t.end();
});

t.test('the pages that list what code defines are in step with it', (t) => {
  const stale = printedPages().filter(({ present, wanted }) => present !== wanted);
  t.strictSame(
    stale.map(({ file }) => `${file}: npm run docs`),
    [],
  );
  t.end();
});

t.test('links between the documents lead somewhere', (t) => {
  const pages = ['README.md', 'CONTRIBUTING.md', ...filesUnder('docs')].filter((path) =>
    path.endsWith('.md'),
  );
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, target = '']) => target)
      .filter(
        (target) =>
          statSync(resolve(root, dirname(page), target), { throwIfNoEntry: false }) === undefined,
      )
      .map((target) => `${page} -> ${target}`),
  );
  t.strictSame(broken, []);
  t.end();
});

t.test('every setting is explained in one sentence', (t) => {
  const wrong = settingNames.filter((name) => {
    const { doc } = settingOf(name);
    return !/^[A-Z]/.test(doc) || doc.endsWith('.') || doc.length > 100;
  });
  t.strictSame(wrong, []);
  t.end();
});

t.test('every source file exports something and every test tests', (t) => {
  const entries = ['src/server/raft-worker.ts'];
  const silent = sources.filter((path) => !entries.includes(path) && !/^export /m.test(read(path)));
  t.strictSame(
    silent.filter((path) => !path.endsWith('.d.ts')),
    [],
  );
  t.end();
});
