import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** One line of a recording: a message, or an event (`bytes` empty, `note` says what). */
export interface Recorded {
  /** Case name; a request and its responses share it. */
  readonly name: string;
  readonly note: string;
  readonly direction: 'c2s' | 's2c';
  /** The handshake word, or whole messages with their headers. */
  readonly bytes: Buffer;
  /** Label of the connection inside the file. */
  readonly connection: string;
}

export type RecordingSet = 'master-1.18.6' | 'debian-1.11.1';

/** Reads `test/fixtures/golden/SET/NAME.jsonl.gz`. */
export function recording(set: RecordingSet, name: string): Recorded[] {
  const file = join(import.meta.dirname, '../fixtures/golden', set, `${name}.jsonl.gz`);
  const lines = gunzipSync(readFileSync(file)).toString().trim().split('\n');
  return lines.map((line) => {
    const { name, note, dir, hex, conn } = JSON.parse(line);
    return { name, note, direction: dir, bytes: Buffer.from(hex, 'hex'), connection: conn };
  });
}

/** The server's address in a recording: what its responses name most often, else what its requests name. */
export function recordedAddress(events: readonly Recorded[]): string | undefined {
  for (const wanted of ['s2c', 'c2s']) {
    const counts = new Map<string, number>();
    for (const { direction, bytes } of events) {
      if (direction !== wanted) continue;
      for (const [found] of bytes.toString('latin1').matchAll(/127\.0\.0\.1:\d{5}/g)) {
        counts.set(found, (counts.get(found) ?? 0) + 1);
      }
    }
    const mostOften = [...counts].sort((a, b) => b[1] - a[1])[0];
    if (mostOften !== undefined) return mostOften[0];
  }
  return undefined;
}

/** `bytes` with each occurrence of `from` replaced by `to` of the same length. */
export function substituted(bytes: Buffer, from: string, to: string): Buffer {
  if (from.length !== to.length) throw new Error(`'${from}' and '${to}' differ in length`);
  const result = Buffer.from(bytes);
  for (let at = result.indexOf(from); at >= 0; at = result.indexOf(from, at + to.length)) {
    result.write(to, at, 'latin1');
  }
  return result;
}
