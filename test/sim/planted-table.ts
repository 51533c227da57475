import type { PlantedBug } from './planted-bug.ts';

/** The table of planted bugs in Markdown: each mistake, where it is made, and how many seeds were run until it was found. */
export function plantedTable(
  bugs: Readonly<Record<string, PlantedBug>>,
  found: ReadonlyMap<string, { readonly seeds: number }>,
  limit: number,
): string {
  const rows = Object.entries(bugs).map(([name, { file, why }]) => {
    const seeds = found.get(name)?.seeds ?? `not in ${limit}`;
    return `| ${name} | \`${file.replace('src/', '')}\` | ${why} | ${seeds} |`;
  });
  return ['| mistake | made in | what comes of it | seeds |', '|---|---|---|---:|', ...rows].join(
    '\n',
  );
}
