import { readFileSync } from 'node:fs';
import { isMap, isScalar, isSeq, parseDocument } from 'yaml';
import { UsageError } from '../base/errors.ts';
import {
  fileKeyOf,
  flagOf,
  type SettingName,
  type Settings,
  settingNames,
  settingOf,
  variableOf,
} from './options.ts';

/** Where a value came from: an explicit one may contradict the data directory, a default gives way to it. */
export type Origin = 'flag' | 'variable' | 'file' | 'default';

/** Everything the daemon was told: checked, frozen. */
export interface Config extends Settings {
  readonly origins: { readonly [Name in SettingName]: Origin };
}

/** Values of the command line as text, by setting; absent ones were not given. */
export type FlagTexts = { readonly [Name in SettingName]?: string };

interface Given {
  readonly text: string;
  readonly origin: Origin;
  /** How the operator wrote it, for messages: `--id`, `DQLITED_ID`, `id in cluster.yaml`. */
  readonly spelling: string;
}

/**
 * Merges flags over environment over file over defaults. Throws one UsageError that lists everything that is
 * wrong. Variables that name no setting are ignored: orchestrators make up `DQLITED_PORT` and the like.
 */
export function loadConfig(
  flags: FlagTexts,
  environment: { readonly [variable: string]: string | undefined },
): Config {
  const problems: string[] = [];
  const fromFile = readFileSettings(flags.config ?? environment[variableOf('config')], problems);
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  for (const name of settingNames) {
    const { kind, fallback } = settingOf(name);
    const given = fromFlag(name, flags) ?? fromVariable(name, environment) ?? fromFile.get(name);
    const reading = given === undefined ? { value: fallback } : kind.read(given.text);
    origins[name] = given?.origin ?? 'default';
    if ('value' in reading) values[name] = reading.value;
    else problems.push(`${given?.spelling} must be ${reading.expected}, not "${given?.text}"`);
  }
  if (problems.length === 0) checkTogether(values as unknown as Settings, problems);
  if (problems.length > 0) throw new UsageError(listed(problems));
  return Object.freeze({ ...values, origins: Object.freeze(origins) }) as unknown as Config;
}

function fromFlag(name: SettingName, flags: FlagTexts): Given | undefined {
  const text = flags[name];
  const spelling = flagOf(name).split(' ')[0] ?? '';
  return text === undefined ? undefined : { text, origin: 'flag', spelling };
}

/** An empty variable counts as unset: unit files and compose files cannot remove one. */
function fromVariable(
  name: SettingName,
  environment: { readonly [variable: string]: string | undefined },
): Given | undefined {
  const spelling = variableOf(name);
  const text = environment[spelling];
  if (text === undefined || text === '') return undefined;
  return { text, origin: 'variable', spelling };
}

/** The settings of the file, as text. What is wrong with it is added to `problems`. */
function readFileSettings(path: string | undefined, problems: string[]): Map<SettingName, Given> {
  const given = new Map<SettingName, Given>();
  if (path === undefined || path === '') return given;
  const text = readText(path, problems);
  if (text === undefined) return given;
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) problems.push(`${path} is not YAML: ${error.message.split('\n')[0]}`);
  else if (document.contents === null) return given;
  else if (!isMap(document.contents)) problems.push(`${path} must hold "name: value" lines`);
  else {
    for (const { key, value } of document.contents.items) {
      addFileSetting(path, scalarText(key), value, given, problems);
    }
  }
  return given;
}

function addFileSetting(
  path: string,
  key: string | undefined,
  value: unknown,
  given: Map<SettingName, Given>,
  problems: string[],
): void {
  const name = settingNames.find((candidate) => fileKeyOf(candidate) === key);
  const text = isSeq(value) ? value.items.map(scalarText).join(',') : scalarText(value);
  if (name === undefined || name === 'config') {
    problems.push(`${path} holds "${key}", which is no setting: see docs/configuration.md`);
  } else if (text === undefined) {
    problems.push(`${key} in ${path} must be ${settingOf(name).kind.allowed}`);
  } else {
    given.set(name, { text, origin: 'file', spelling: `${key} in ${path}` });
  }
}

/** A scalar as it is written in the file, so that no number is rounded on the way. */
function scalarText(node: unknown): string | undefined {
  if (!isScalar(node) || node.value === null) return undefined;
  const written = typeof node.value === 'string' ? node.value : node.source;
  return written ?? String(node.value);
}

function readText(path: string, problems: string[]): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    problems.push(`cannot read the configuration file: ${(error as Error).message}`);
    return undefined;
  }
}

/** Rules about several settings at once. */
function checkTogether(settings: Settings, problems: string[]): void {
  if (settings.snapshotTrailing < settings.snapshotThreshold) {
    problems.push(
      `--snapshot-trailing (${settings.snapshotTrailing}) must be at least --snapshot-threshold (${settings.snapshotThreshold})`,
    );
  }
  if (settings.voters % 2 === 0) {
    problems.push(`--voters must be odd, not ${settings.voters}: an even number survives no more`);
  }
  if (settings.join?.includes(settings.address)) {
    problems.push(`--join names this server's own address ${settings.address}: name another one`);
  }
}

function listed(problems: readonly string[]): string {
  if (problems.length === 1) return problems[0] ?? '';
  return `${problems.length} settings need attention:\n${problems.map((line) => `  ${line}`).join('\n')}`;
}
