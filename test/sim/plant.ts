import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { PlantedBug } from './planted-bug.ts';

const root = join(import.meta.dirname, '..', '..');

/** The file's text with the bug in it. @throws Error when a text to be replaced is not there exactly once */
export function planted({ file, patches }: PlantedBug): string {
  let text = readFileSync(join(root, file), 'utf8');
  for (const { find, replace } of patches) {
    const count = text.split(find).length - 1;
    if (count !== 1) throw new Error(`${file} holds ${count} times, not once: ${find}`);
    text = text.replace(find, () => replace);
  }
  return text;
}

/** From now on this process imports the file with the bug in it. Call it before anything imports the file. */
export function plant(bug: PlantedBug): void {
  const directory = mkdtempSync(join(tmpdir(), 'dqlited-plant-'));
  process.once('exit', () => rmSync(directory, { recursive: true }));
  const copy = join(directory, 'copy.mts');
  writeFileSync(copy, planted(bug));
  register('./plant-hook.mjs', import.meta.url, {
    data: {
      original: pathToFileURL(join(root, bug.file)).href,
      copy: pathToFileURL(copy).href,
    },
  });
}
