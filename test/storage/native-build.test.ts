import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const folder = join(import.meta.dirname, '../../native-aio');
const noCargo = spawnSync('cargo', ['--version']).status === 0 ? false : 'cargo is not installed';

t.setTimeout(900_000);

const checks: readonly [fact: string, command: string, ...args: string[]][] = [
  ['the Rust code is formatted', 'cargo', 'fmt', '--check'],
  [
    ...(['clippy finds nothing', 'cargo', 'clippy', '--release', '--locked', '--quiet'] as const),
    ...['--all-targets', '--', '-D', 'warnings'],
  ],
  ['the tests in Rust pass', 'cargo', 'test', '--release', '--locked', '--quiet'],
  ['addon.d.ts is what the code says', process.execPath, 'build.mjs', '--check'],
];

t.test('the addon', { skip: noCargo }, async (t) => {
  for (const [fact, command, ...args] of checks) {
    const { status, stderr, stdout } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
    t.equal(status, 0, status === 0 ? fact : `${fact}: ${stdout}${stderr}`);
  }
});

t.test('there is a package for each platform, of the same version', (t) => {
  const main = json('package.json');
  const { targets } = main.napi as { targets: string[] };
  const platforms = targets.map((target) => {
    const [cpu, , , libc] = target.split('-');
    return `linux-${cpu === 'aarch64' ? 'arm64' : 'x64'}-${libc}`;
  });
  t.same(readdirSync(join(folder, 'npm')).sort(), platforms.sort());
  for (const platform of platforms) {
    t.match(json(join('npm', platform, 'package.json')), {
      name: `${main.name}-${platform}`,
      version: main.version,
      main: `native-aio.${platform}.node`,
    });
  }
  const cargo = readFileSync(join(folder, 'Cargo.toml'), 'utf8');
  t.match(cargo, `version = "${main.version}"`);
  t.end();
});

function json(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, path), 'utf8')) as Record<string, unknown>;
}
