import { type Command, InvalidArgumentError } from 'commander';
import type { ServerId } from '../base/ids.ts';
import type { Role, Server } from '../protocol/log.ts';
import type { Recovery } from '../server/recovery.ts';
import { address, choice, unsigned64 } from '../server/setting-kinds.ts';
import { parserOf } from './shared-options.ts';
import { fieldList, textTable } from './table.ts';
import { print, say, type Terminal } from './terminal.ts';

interface RecoverOptions {
  readonly member: readonly Server[];
  readonly dryRun?: boolean;
}

const memberForm = 'ID=ADDRESS or ID=ADDRESS=ROLE';
const parseId = parserOf(unsigned64(1n));
const parseAddress = parserOf(address);
const parseRole = parserOf(
  choice(['voter', 'standby', 'spare'] as const satisfies readonly Role[]),
);

/** `dqlited recover DIR`: new members for a cluster that has lost its majority for good. */
export function addRecoverCommand(program: Command, terminal: Terminal): void {
  program
    .command('recover')
    .description('give a stopped server new members, when the majority of the old ones is lost')
    .argument('<directory>', 'its --data-dir, of this server or of C dqlite')
    .requiredOption(
      `--member <${memberForm.split(' ')[0]}[=ROLE]>`,
      'a member from now on, repeatable; the role is voter unless given',
      addMember,
    )
    .option('--dry-run', 'say what would be done, and do nothing')
    .addHelpText(
      'after',
      `
While a majority of the voters can be started, start them instead: nothing is lost then. Otherwise
stop all servers and recover the one with the newest log, that is the highest term of its last entry
and among those the highest index (\`dqlited doctor DIR\`, or --dry-run here). What only lost servers
had is lost.

Examples:
  dqlited recover /var/lib/dqlited --member 1=10.0.0.1:9001 --dry-run
  dqlited recover /var/lib/dqlited --member 1=10.0.0.1:9001 --member 2=10.0.0.2:9001=standby`,
    )
    .action(async (directory: string, options: RecoverOptions) => {
      const { recoverDataDirectory } = await import('../server/recovery.ts');
      const dryRun = options.dryRun === true;
      const recovery = await recoverDataDirectory(directory, options.member, { dryRun });
      await print(terminal, recoveryText(recovery));
      for (const line of nextSteps(recovery, dryRun)) say(terminal, line);
    });
}

function addMember(text: string, before: readonly Server[] = []): readonly Server[] {
  const [id = '', at = '', role = 'voter', ...rest] = text.split('=');
  if (at === '' || rest.length > 0) throw new InvalidArgumentError(`It must be ${memberForm}.`);
  const member = { id: parseId(id) as ServerId, address: parseAddress(at), role: parseRole(role) };
  return [...before, member];
}

function recoveryText(recovery: Recovery): string {
  const { after, before, directory, identity, index, lastIndex, lastTerm, term } = recovery;
  const fields = fieldList([
    ['directory', directory],
    ['server', identity && `${identity.id} at ${identity.address}`],
    ['log', `ends with entry ${lastIndex} of term ${lastTerm}`],
    ['new entry', `${index} of term ${term}, with these members:`],
  ]);
  const ids = new Set([...before, ...after].map(({ id }) => id));
  const rows = [...ids].map((id) => {
    const [old, now] = [before, after].map((list) => list.find((server) => server.id === id));
    return [String(id), (now ?? old)?.address ?? '', old?.role ?? '-', now?.role ?? 'gone'];
  });
  return `${fields}\n${textTable(['ID', 'ADDRESS', 'WAS', 'WILL BE'], rows)}`;
}

function nextSteps({ after, directory, identity }: Recovery, dryRun: boolean): string[] {
  const others = after.filter(({ id }) => id !== identity?.id);
  const steps = [
    dryRun ? 'nothing was changed. Without --dry-run, afterwards:' : 'done. Now:',
    `- every old server that is not a member any more: never start it on its old directory again`,
  ];
  if (others.length > 0) {
    const names = others.map(({ id, address: at }) => `${id} (${at})`).join(', ');
    steps.push(
      `- ${names}: replace the data directory by a copy of ${directory} without info.yaml, keep its own info.yaml`,
      '- only then start all of them',
    );
  } else {
    steps.push(
      `- start this server; it is a cluster of its own. Others join with an empty --data-dir and --join ${after[0]?.address}`,
    );
  }
  return steps;
}
