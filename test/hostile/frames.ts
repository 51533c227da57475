import type { Random } from '../../src/base/random.ts';
import { recording } from '../compat/recordings.ts';
import { frame, type Parameter, parameters, request, text, uint64 } from '../support/wire.ts';
import { randomSql } from './random-sql.ts';

const recordingNames = [
  '01-handshake',
  '02-session',
  '03-types',
  '04-batches',
  '05-errors',
  '06-framing',
  '07-busy-tx',
  '11-crashes',
  '20-go-dqlite-v3',
  '21-shell-1.11.5',
];

/** Requests that name a server, which ours would dial: sent as they are with an address of this host, never mutated. */
const CONNECT = 11;
const ADD = 12;
const REMOVE = 14;
/** Nobody listens there. */
const DEAD_ADDRESS = '127.0.0.1:21699';

/** Databases that frames open, but for those with mutated names. */
export const databaseNames = [
  'fuzz-0',
  'fuzz-1',
  'fuzz-2',
  'fuzz-3',
  'test',
  'test.db',
  'gotest',
  'shelldb',
];

/** Makes up frames: recorded requests, mutations of them, samples of every request, SQL of a small grammar. */
export class FrameSource {
  readonly #recorded: Buffer[];
  readonly #wellFormed: Buffer[];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    this.#recorded = recordedRequests(recordingNames);
    const names = recordingNames.filter((name) => name !== '06-framing');
    this.#wellFormed = recordedRequests(names).filter(
      (bytes) => bytes.length === 8 + 8 * bytes.readUInt32LE(0),
    );
  }

  /** A wild frame may well end its connection; a tame one is a request, sensible or not. */
  next(wild: boolean): Buffer {
    const roll = this.#random.int(0, 99);
    if (!wild) {
      if (roll < 20) return this.#pick(this.#wellFormed);
      return roll < 23 ? this.#membership() : this.#sql();
    }
    if (roll < 50) return this.#mutated(this.#pick(this.#recorded));
    if (roll < 75) return this.#mutated(this.#sample());
    if (roll < 85) return this.#sample();
    return this.#mutated(this.#sql());
  }

  /** What a connection begins with: nearly always the handshake. */
  opening(): Buffer {
    const roll = this.#random.int(0, 99);
    if (roll < 92) return Buffer.concat([uint64(1), request.open(databaseNames[roll % 4] ?? '')]);
    if (roll < 96) return uint64(1);
    if (roll < 98) return uint64(0x86104dd760433fe5n);
    return this.#bytes(this.#random.int(0, 64));
  }

  #sql(): Buffer {
    const sql = randomSql(this.#random);
    const count = Math.max(0, this.#random.int(-3, 3));
    const values = Array.from({ length: count }, () => this.#value());
    switch (this.#random.int(0, 5)) {
      case 0:
        return request.prepare(sql, this.#random.int(0, 1));
      case 1:
        return request.exec(this.#random.int(0, 5), values);
      case 2:
        return request.query(this.#random.int(0, 5), values);
      case 3:
        return request.querySql(sql, values);
      default:
        return request.execSql(sql, values);
    }
  }

  #value(): Parameter {
    const random = this.#random;
    const choices: Parameter[] = [
      null,
      random.int(0, 1) === 1,
      random.int(-100, 100),
      random.int(0, 1_000_000) / 7,
      'x'.repeat(random.int(0, 300)),
      this.#bytes(random.int(0, 3000)),
      (1n << 63n) - 1n,
    ];
    return choices[random.int(0, choices.length - 1)] ?? null;
  }

  /** A request of a random type with fields of random kinds. */
  #sample(): Buffer {
    const random = this.#random;
    const parts: Buffer[] = [];
    for (let left = random.int(1, 5); left > 0; left--) {
      const kind = random.int(0, 3);
      if (kind === 0) parts.push(uint64(random.int(0, 3)));
      else if (kind === 1) parts.push(text('t'.repeat(random.int(0, 40))));
      else if (kind === 2) parts.push(parameters([this.#value(), this.#value()], random.int(0, 1)));
      else parts.push(this.#bytes(8 * random.int(0, 6)));
    }
    return withoutServers(frame(random.int(0, 22), Buffer.concat(parts), random.int(0, 2)));
  }

  #membership(): Buffer {
    const id = this.#random.int(0, 4);
    switch (this.#random.int(0, 3)) {
      case 0:
        return request.add(id, DEAD_ADDRESS);
      case 1:
        return request.assign(id, this.#random.int(0, 3));
      case 2:
        return request.remove(id);
      default:
        return request.transfer(id);
    }
  }

  #mutated(original: Buffer): Buffer {
    const random = this.#random;
    let bytes = Buffer.from(original);
    for (let times = random.int(1, 4); times > 0; times--) {
      const at = random.int(0, bytes.length - 1);
      switch (random.int(0, 6)) {
        case 0:
          bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
          break;
        case 1:
          bytes[at] = random.int(0, 255);
          break;
        case 2:
          bytes.writeUInt32LE(random.int(0, bytes.length / 4), 0);
          break;
        case 3:
          bytes.writeUInt8(random.int(0, 22), 4);
          break;
        case 4:
          bytes.fill(random.int(0, 1) * 255, at - (at % 8), at - (at % 8) + 8);
          break;
        case 5:
          bytes = Buffer.concat([bytes, this.#bytes(8 * random.int(1, 4))]);
          break;
        default:
          bytes = Buffer.concat([bytes, this.#pick(this.#recorded)]);
          break;
      }
      if (bytes.length > MAXIMUM_FRAME_BYTES) break;
    }
    return withoutServers(bytes);
  }

  #pick(from: readonly Buffer[]): Buffer {
    return from[this.#random.int(0, from.length - 1)] ?? Buffer.alloc(16);
  }

  #bytes(size: number): Buffer {
    const bytes = Buffer.alloc(size);
    for (let i = 0; i < size; i++) bytes[i] = this.#random.int(0, 255);
    return bytes;
  }
}

const MAXIMUM_FRAME_BYTES = 64 * 1024;

/** The recorded requests of both sets, one by one. */
function recordedRequests(names: readonly string[]): Buffer[] {
  const requests: Buffer[] = [];
  for (const set of ['master-1.18.6', 'debian-1.11.1'] as const) {
    for (const name of names) {
      for (const { direction, bytes } of recording(set, name)) {
        const isRequest = direction === 'c2s' && bytes.length >= 16;
        if (isRequest && bytes.length <= MAXIMUM_FRAME_BYTES) requests.push(withoutServers(bytes));
      }
    }
  }
  return requests;
}

/**
 * No word of `bytes` can be read as the header of a request that names a server: our server must not be told to dial
 * made-up addresses. Frames stay whole words, so only aligned words can become headers.
 */
function withoutServers(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let at = 4; at < copy.length; at += 8) {
    if (copy[at] === ADD || copy[at] === CONNECT) copy[at] = REMOVE;
  }
  return copy;
}
