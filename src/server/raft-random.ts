import { randomBytes } from 'node:crypto';
import { type Random, seededRandom } from '../base/random.ts';

/** Randomness that differs between servers and between starts: election timeouts rest on it. */
export function randomFromSystem(): Random {
  return seededRandom(randomBytes(4).readUInt32LE());
}
