import {
  fileKeyOf,
  flagOf,
  type SettingName,
  settingGroups,
  settingNames,
  settingOf,
  variableOf,
} from './options.ts';

/** The tables of docs/configuration.md, printed from the settings table. */
export function describeSettings(): string {
  return Object.entries(settingGroups)
    .map(([group, title]) => {
      const rows = settingNames.filter((name) => settingOf(name).group === group).map(rowOf);
      return [`### ${title}`, '', '| setting | default | meaning |', '|---|---|---|', ...rows].join(
        '\n',
      );
    })
    .join('\n\n');
}

function rowOf(name: SettingName): string {
  const { kind, doc, note } = settingOf(name);
  const names = `\`${flagOf(name).replaceAll('|', '\\|')}\`<br>\`${variableOf(name)}\`<br>\`${fileKeyOf(name)}\``;
  const values = kind.allowed === 'true or false' ? '' : ` ${capitalized(kind.allowed)}.`;
  const meaning = `${doc}.${note === undefined ? '' : ` ${note}`}${values}`;
  return `| ${names} | ${defaultOf(name)} | ${meaning} |`;
}

/** The default as help and reference show it. */
export function defaultOf(name: SettingName): string {
  const { kind, fallback, unset } = settingOf(name);
  return fallback === undefined ? (unset ?? '') : `\`${kind.print(fallback)}\``;
}

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
