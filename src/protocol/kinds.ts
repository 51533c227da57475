import { WireError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { padded, type Reader, type Writer } from './words.ts';

/**
 * One kind of field: how a value is written and read, what the documentation calls it, and how a test makes
 * one up. `schema` is that of the message, for the few kinds that depend on it.
 */
export interface Kind<T> {
  readonly name: string;
  write(to: Writer, value: T, schema: number): void;
  /** @throws WireError when the bytes are no such value. */
  read(from: Reader, schema: number): T;
  sample(random: Random, schema: number): T;
}

/** Four bytes. A message holds them in pairs, so that it stays a whole number of words. */
export const uint32: Kind<number> = {
  name: 'uint32',
  write(to, value) {
    const at = to.take(4);
    to.bytes.writeUInt32LE(value, at);
  },
  read(from) {
    return from.bytes.readUInt32LE(from.take(4));
  },
  sample: (random) => random.int(0, 0xffffffff),
};

/** All 64 bits, unsigned: ids, flags, whatever the other side may choose freely. */
export const uint64: Kind<bigint> = {
  name: 'uint64',
  write(to, value) {
    const at = to.take(8);
    to.bytes.writeBigUInt64LE(value, at);
  },
  read(from) {
    return from.bytes.readBigUInt64LE(from.take(8));
  },
  sample: (random) =>
    (BigInt(random.int(0, 0xffffffff)) << 32n) | BigInt(random.int(0, 0xffffffff)),
};

/** All 64 bits, signed: rowids. */
export const int64: Kind<bigint> = {
  name: 'int64',
  write(to, value) {
    const at = to.take(8);
    to.bytes.writeBigInt64LE(value, at);
  },
  read(from) {
    return from.bytes.readBigInt64LE(from.take(8));
  },
  sample: (random) => BigInt.asIntN(64, uint64.sample(random, 0)),
};

/** A uint64 that counts something and so fits a number: more than 2^53-1 is a WireError. */
export const count64: Kind<number> = {
  name: 'uint64',
  write(to, value) {
    const at = to.take(8);
    to.bytes.writeUInt32LE(value % 0x1_0000_0000, at);
    to.bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
  },
  read(from) {
    const at = from.take(8);
    const high = from.bytes.readUInt32LE(at + 4);
    if (high > 0x1f_ffff) throw new WireError('a count of more than 53 bits');
    return high * 0x1_0000_0000 + from.bytes.readUInt32LE(at);
  },
  sample: (random) => random.int(0, Number.MAX_SAFE_INTEGER),
};

/**
 * UTF-8 text and a closing zero, so what is written ends at the first zero of the value. Malformed UTF-8 is read
 * as U+FFFD, not refused.
 */
export const text: Kind<string> = {
  name: 'text',
  write: (to, value) => writeText(to, value, 'utf8'),
  read(from) {
    const bytes = from.takeText();
    return bytes.toString('utf8');
  },
  sample: (random) => 'λ'.repeat(random.int(0, 3)) + 'x'.repeat(random.int(0, 20)),
};

/** Text whose encoding is nobody's business (SQL): a view of the message, without the closing zero. */
export const textBytes: Kind<Uint8Array> = {
  name: 'text',
  write(to, value) {
    // An embedded zero would end the text for the reader and shift every field behind it.
    const zero = value.indexOf(0);
    const size = zero < 0 ? value.length : zero;
    const at = to.takePadded(size + 1);
    to.bytes.set(zero < 0 ? value : value.subarray(0, size), at);
    to.bytes[at + size] = 0;
  },
  read: (from) => from.takeText(),
  sample: (random) => sampleBytes(random, 1, 255),
};

/**
 * Text that names a database: opaque bytes, compared exactly. Held as a string with one character for each
 * byte, so that it can be the key of a map; `nameOfText` and `textOfName` convert.
 */
export const nameText: Kind<string> = {
  name: 'text',
  write: (to, value) => writeText(to, value, 'latin1'),
  read: (from) => from.takeText().toString('latin1'),
  sample: (random) => Buffer.from(sampleBytes(random, 1, 255)).toString('latin1'),
};

/** The name (see `nameText`) of a text as people write it. */
export function nameOfText(value: string): string {
  return Buffer.from(value, 'utf8').toString('latin1');
}

/** A name (see `nameText`) as people read it. */
export function textOfName(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** Length and bytes; read as a view of the message. */
export const blob: Kind<Uint8Array> = {
  name: 'blob',
  write(to, value) {
    count64.write(to, value.length, 0);
    const at = to.takePadded(value.length);
    to.bytes.set(value, at);
  },
  read(from) {
    const size = count64.read(from, 0);
    if (size > from.remaining) throw new WireError(`blob of ${size} bytes in ${from.remaining}`);
    const bytes = from.takeBytes(size);
    from.take(padded(size) - size);
    return bytes;
  },
  sample: (random) => sampleBytes(random, 0, 255),
};

/** IEEE 754 double. */
export const float64: Kind<number> = {
  name: 'float',
  write(to, value) {
    const at = to.take(8);
    to.bytes.writeDoubleLE(value, at);
  },
  read(from) {
    return from.bytes.readDoubleLE(from.take(8));
  },
  sample: (random) => random.int(-1_000_000, 1_000_000) / 64,
};

/** A last field that older clients leave out. */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return {
    name: `[${kind.name}]`,
    write(to, value, schema) {
      if (value !== undefined) kind.write(to, value, schema);
    },
    read: (from, schema) => (from.remaining === 0 ? undefined : kind.read(from, schema)),
    sample: (random, schema) => (random.int(0, 1) === 0 ? undefined : kind.sample(random, schema)),
  };
}

/** A count, then that many values. */
export function listOf<T>(kind: Kind<T>): Kind<readonly T[]> {
  return {
    name: `uint64 n; n × ${kind.name}`,
    write(to, values, schema) {
      count64.write(to, values.length, 0);
      for (const value of values) kind.write(to, value, schema);
    },
    read(from, schema) {
      const count = count64.read(from, 0);
      const values: T[] = [];
      // The count is not trusted: nothing is allocated for values that are not there.
      for (let i = 0; i < count; i++) values.push(kind.read(from, schema));
      return values;
    },
    sample: (random, schema) =>
      Array.from({ length: random.int(0, 4) }, () => kind.sample(random, schema)),
  };
}

/** Several fields, one after the other, as one value. */
export function structOf<T extends object>(
  fields: { readonly [F in keyof T]: Kind<T[F]> },
): Kind<T> {
  const entries = Object.entries(fields) as [keyof T & string, Kind<T[keyof T]>][];
  const build = (make: (kind: Kind<T[keyof T]>) => T[keyof T]): T => {
    const value: Partial<Record<keyof T, T[keyof T]>> = {};
    for (const [field, kind] of entries) value[field] = make(kind);
    return value as T;
  };
  return {
    name: `{ ${entries.map(([field, kind]) => `${kind.name} ${field}`).join('; ')} }`,
    write(to, value, schema) {
      for (const [field, kind] of entries) kind.write(to, value[field], schema);
    },
    read: (from, schema) => build((kind) => kind.read(from, schema)),
    sample: (random, schema) => build((kind) => kind.sample(random, schema)),
  };
}

function writeText(to: Writer, value: string, encoding: 'utf8' | 'latin1'): void {
  const zero = value.indexOf('\0');
  const written = zero < 0 ? value : value.slice(0, zero);
  const size = Buffer.byteLength(written, encoding);
  const at = to.takePadded(size + 1);
  to.bytes.write(written, at, encoding);
  to.bytes[at + size] = 0;
}

function sampleBytes(random: Random, min: number, max: number): Uint8Array {
  return Buffer.from(Array.from({ length: random.int(0, 20) }, () => random.int(min, max)));
}
