import type { PlantedBug } from './planted-bug.ts';
import type { Found } from './seek.ts';

/** Longest text of what the simulator says. */
const longestSaid = 110;

/** The table of planted bugs in Markdown: each mistake, where it is made, and how many seeds find it. */
export function plantedTable(
  bugs: Readonly<Record<string, PlantedBug>>,
  found: ReadonlyMap<string, Found>,
  limit: number,
): string {
  const rows = Object.entries(bugs).map(([name, { file, why }]) => {
    const where = found.get(name);
    const seeds = where === undefined ? `not in ${limit}` : `${where.seeds}`;
    const said = where === undefined ? '' : shortened(where.error);
    return `| ${name} | \`${file.replace('src/', '')}\` | ${why} | ${seeds} | ${said} |`;
  });
  return [
    '| mistake | made in | what comes of it | seeds | what the simulator says |',
    '|---|---|---|---:|---|',
    ...rows,
  ].join('\n');
}

function shortened(error: string): string {
  const [line = ''] = error.split('\n');
  const text = line
    .replace(/^(Violation|AssertionError|StorageError): /, '')
    .replaceAll('|', '\\|');
  return text.length > longestSaid ? `${text.slice(0, longestSaid)}…` : text;
}
