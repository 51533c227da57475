import type { Command } from 'commander';
import { askControl, type Status } from '../server/control.ts';
import { settings, variableOf } from '../server/options.ts';
import { toJson } from './json.ts';
import { withJson, withTimeout } from './shared-options.ts';
import { fieldList, textTable } from './table.ts';
import { print, type Terminal } from './terminal.ts';

interface StatusOptions {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly timeout: number;
}

const TIMEOUT_MS = 5000;

/** `dqlited status`: what the daemon on this machine says of itself, leader or not. */
export function addStatusCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('status')
    .description('what the server on this machine says of itself, also when there is no leader')
    .option(
      '--data-dir <DIR>',
      `its data directory (${settings.dataDir.fallback}) [${variableOf('dataDir')}]`,
    )
    .addHelpText('after', '\nExample:\n  dqlited status --data-dir /var/lib/dqlited --json');
  withJson(withTimeout(command, TIMEOUT_MS)).action(async (options: StatusOptions) => {
    const directory =
      options.dataDir ?? (terminal.environment[variableOf('dataDir')] || settings.dataDir.fallback);
    const status = await askControl(directory, 'status', options.timeout);
    await print(terminal, options.json ? `${toJson({ ...status })}\n` : statusText(status));
  });
}

function statusText(status: Status): string {
  const { leader } = status;
  const fields = fieldList([
    ['server', `${status.id} at ${status.address}`],
    ['listens on', status.listen === status.address ? undefined : status.listen],
    ['version', `${status.version}, ${status.engine}`],
    ['disk', diskText(status)],
    ['process', `${status.processId}, up ${duration(status.uptimeMs)}`],
    ['data', status.dataDir],
    ['role', `${status.role ?? 'not a member'}, ${status.state}`],
    ['leader', leader === undefined ? 'none' : `${leader.id} at ${leader.address}`],
    ['because', status.noLeaderBecause],
    ['stopped', status.stoppedBecause],
    ['term', String(status.term)],
    ['log', logText(status)],
    ['connections', String(status.connections)],
    ['databases', status.databases.join(', ') || 'none'],
  ]);
  return `${fields}\n${serversText(status)}`;
}

/** In capitals what an operator has to do something about. */
function diskText({ disk, diskReason, lacksSpace }: Status): string {
  const backend = diskReason === '' ? `log on ${disk}` : `log on ${disk} (${diskReason})`;
  return lacksSpace ? `NOSPACE: writes are refused until there is space; ${backend}` : backend;
}

function logText(status: Status): string {
  const { lastIndex, commitIndex, appliedIndex, snapshotIndex } = status;
  return `last ${lastIndex}, committed ${commitIndex}, applied ${appliedIndex}, snapshot ${snapshotIndex}`;
}

/** Lag is what a server still has to write, as its leader knows it. */
function serversText(status: Status): string {
  const rows = status.servers.map(({ id, address, role, connected, matchIndex }) => [
    String(id),
    address,
    role,
    id === status.id ? 'self' : connected ? 'yes' : 'no',
    matchIndex === undefined ? '-' : String(matchIndex),
    matchIndex === undefined ? '-' : String(Math.max(0, status.lastIndex - matchIndex)),
  ]);
  return textTable(['ID', 'ADDRESS', 'ROLE', 'CONNECTED', 'LAST INDEX', 'LAG'], rows);
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (days > 0) return `${days}d ${hours}h`;
  return hours > 0 ? `${hours}h ${minutes}m` : `${minutes}m ${rest}s`;
}
