// Writes what code defines into the pages that describe it: `npm run docs`; with `--check` it only says whether
// a page is out of step. A test does the same check.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describeErrors } from '../src/base/errors.ts';
import { commands } from '../src/protocol/commands.ts';
import { peerHeaders } from '../src/protocol/peer-codec.ts';
import { requests, retiredRequests } from '../src/protocol/requests.ts';
import { olderResponses, responses } from '../src/protocol/responses.ts';
import { describeRoles } from '../src/protocol/roles.ts';
import { describeValues } from '../src/protocol/values.ts';
import { describeSettings } from '../src/server/options-docs.ts';

/** A part of a page that is printed by code: it stands between `<!-- begin MARKER -->` and `<!-- end MARKER -->`. */
export interface PrintedPart {
  /** Path from the root of the repository. */
  readonly file: string;
  readonly marker: string;
  /** Markdown without a line break at its end. */
  readonly print: () => string;
}

const wireProtocol = 'docs/wire-protocol.md';

/** Every printed part of every page. */
export const printedParts: readonly PrintedPart[] = [
  { file: wireProtocol, marker: 'requests', print: () => requests.describe() },
  { file: wireProtocol, marker: 'retired requests', print: () => retiredRequests.describe() },
  { file: wireProtocol, marker: 'responses', print: () => responses.describe() },
  { file: wireProtocol, marker: 'older responses', print: () => olderResponses.describe() },
  { file: wireProtocol, marker: 'values', print: describeValues },
  { file: wireProtocol, marker: 'roles', print: describeRoles },
  { file: wireProtocol, marker: 'peer messages', print: () => peerHeaders.describe() },
  { file: wireProtocol, marker: 'commands', print: () => commands.describe() },
  { file: 'docs/errors.md', marker: 'errors', print: describeErrors },
  { file: 'docs/configuration.md', marker: 'settings', print: describeSettings },
];

const root = join(import.meta.dirname, '..');

/** Each page with printed parts, as it is and as it should be. */
export function printedPages(): { file: string; present: string; wanted: string }[] {
  const files = [...new Set(printedParts.map(({ file }) => file))];
  return files.map((file) => {
    const present = readFileSync(join(root, file), 'utf8');
    let wanted = present;
    for (const part of printedParts) {
      if (part.file === file) wanted = replaced(wanted, part);
    }
    return { file, present, wanted };
  });
}

/** The page with a printed part put in its place. */
export function replaced(page: string, { file, marker, print }: PrintedPart): string {
  const begin = `<!-- begin ${marker} -->`;
  const end = `<!-- end ${marker} -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`${file} has no place marked "${marker}"`);
  return `${page.slice(0, from + begin.length)}\n${print()}\n${page.slice(to)}`;
}

function main(check: boolean): void {
  for (const { file, present, wanted } of printedPages()) {
    if (present === wanted) continue;
    if (check) process.exitCode = 1;
    else writeFileSync(join(root, file), wanted);
    process.stdout.write(`${file} ${check ? 'is out of step: npm run docs' : 'written'}\n`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  main(process.argv.includes('--check'));
}
