import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parseAddress } from '../../src/base/address.ts';
import { UsageError } from '../../src/base/errors.ts';
import { type Config, type FlagTexts, loadConfig } from '../../src/server/config.ts';
import {
  fileKeyOf,
  flagOf,
  settingNames,
  settingOf,
  variableOf,
} from '../../src/server/options.ts';

const directory = mkdtempSync(join(tmpdir(), 'dqlited-config-'));
t.teardown(() => rmSync(directory, { recursive: true }));

function file(text: string): string {
  const path = join(directory, 'dqlited.yaml');
  writeFileSync(path, text);
  return path;
}

/** The lines of the error that loading ends with. */
function problems(flags: FlagTexts, environment: Record<string, string> = {}): string[] {
  try {
    loadConfig(flags, environment);
  } catch (error) {
    if (error instanceof UsageError) return error.message.split('\n');
    throw error;
  }
  throw new Error('nothing was wrong');
}

t.test('without any settings every setting has its default', (t) => {
  const config = loadConfig({}, {});

  for (const name of settingNames) t.equal(config[name], settingOf(name).fallback, name);
  t.equal(config.address, '127.0.0.1:9001');
  t.equal(config.id, undefined);
  t.ok(Object.isFrozen(config));
  t.end();
});

t.test('a flag wins over a variable, a variable over the file, the file over the default', (t) => {
  const path = file('busy-timeout: 1\nvoters: 5\nstandbys: 1\n');
  const environment = { DQLITED_BUSY_TIMEOUT: '2', DQLITED_VOTERS: '7', DQLITED_CONFIG: path };

  const config: Config = loadConfig({ busyTimeout: '3' }, environment);

  t.match(
    { busyTimeout: config.busyTimeout, voters: config.voters, standbys: config.standbys },
    { busyTimeout: 3, voters: 7, standbys: 1 },
  );
  t.match(config.origins, {
    busyTimeout: 'flag',
    voters: 'variable',
    standbys: 'file',
    logLevel: 'default',
  });
  t.end();
});

t.test('everything that is wrong is told at once, each line naming where it was written', (t) => {
  const path = file('listen: nowhere:0\nunknown-key: 1\nsnapshot-trailing: ten\n');

  const lines = problems({ config: path, id: '0' }, { DQLITED_LOG_LEVEL: 'loud' });

  t.equal(lines[0], '5 settings need attention:');
  t.match(lines.join('\n'), /--id must be an integer from 1 to 18446744073709551615.*not "0"/);
  t.match(lines.join('\n'), /DQLITED_LOG_LEVEL must be one of error, warn, info.*not "loud"/);
  t.match(lines.join('\n'), /listen in .*dqlited\.yaml must be HOST:PORT/);
  t.match(lines.join('\n'), /holds "unknown-key", which is no setting/);
  t.match(lines.join('\n'), /snapshot-trailing in .* must be an integer from 4/);
  t.end();
});

t.test('settings that contradict each other are refused', (t) => {
  t.match(problems({ snapshotTrailing: '10' }), [/--snapshot-trailing \(10\).*at least.*\(4096\)/]);
  t.match(problems({ voters: '4' }), [/--voters must be odd/]);
  t.match(problems({ join: '127.0.0.1:9001' }), [/--join names this server's own address/]);
  t.end();
});

t.test('a file that is absent or no YAML map is one line', (t) => {
  t.match(problems({ config: join(directory, 'none') }), [
    /cannot read the configuration file: ENOENT/,
  ]);
  t.match(problems({ config: file('a: [') }), [/is not YAML/]);
  t.match(problems({ config: file('- 1') }), [/must hold "name: value" lines/]);
  t.equal(loadConfig({ config: file('# nothing\n') }, {}).voters, 3);
  t.end();
});

t.test('64-bit ids, lists and booleans survive the file', (t) => {
  const path = file(
    'id: 18446744073709551615\nfailure-domain: 0x1f\nbootstrap: false\njoin:\n  - 10.0.0.1:9001\n  - "@other"\n',
  );

  const config = loadConfig({ config: path }, {});

  t.equal(config.id, 18446744073709551615n);
  t.equal(config.failureDomain, 31n);
  t.equal(config.bootstrap, false);
  t.strictSame(config.join, ['10.0.0.1:9001', '@other']);
  t.end();
});

t.test('empty variables and variables that name no setting are as if unset', (t) => {
  const environment = { DQLITED_JOIN: '', DQLITED_PORT: 'tcp://10.0.0.1:9001' };

  t.equal(loadConfig({}, environment).join, undefined);
  t.end();
});

t.test('flag, variable and file key follow from the name', (t) => {
  t.equal(flagOf('dataDir'), '--data-dir <DIR>');
  t.equal(flagOf('bootstrap'), '--no-bootstrap');
  t.equal(flagOf('autoRecovery'), '--auto-recovery');
  t.equal(variableOf('dataDir'), 'DQLITED_DATA_DIR');
  t.equal(fileKeyOf('idleTransactionTimeout'), 'idle-transaction-timeout');
  t.end();
});

t.test('addresses are host:port, [v6]:port or @name', (t) => {
  t.strictSame(parseAddress('db-1.example:9001'), { host: 'db-1.example', port: 9001 });
  t.strictSame(parseAddress('[::1]:9001'), { host: '::1', port: 9001 });
  t.strictSame(parseAddress('10.0.0.1'), { host: '10.0.0.1', port: 8080 });
  t.strictSame(parseAddress('@name'), { path: '\0name' });
  for (const wrong of [
    '',
    ':9001',
    'a:0',
    'a:70000',
    'a:b',
    '::1:9001',
    '@',
    'a b:1',
    `@${'x'.repeat(108)}`,
  ]) {
    t.equal(parseAddress(wrong), undefined, wrong);
  }
  t.end();
});
