import { parseAddress } from '../base/address.ts';

/** Result of reading one setting: a value, or what is allowed instead ("must be …"). */
export type Reading<T> = { readonly value: T } | { readonly expected: string };

/** How a setting is written by the operator. The same reader serves flags, environment and file. */
export interface SettingKind<T> {
  /** Placeholder in the help: `MS`, `HOST:PORT|@name`. */
  readonly placeholder: string;
  /** Allowed values, as the reference and the error messages say it: "an integer from 1 to 100". */
  readonly allowed: string;
  read(text: string): Reading<T>;
  /** The inverse of `read`, for defaults in help and documentation. */
  print(value: T): string;
}

/** An integer in [min, max], both included; `unit` is its placeholder. */
export function integer(unit: string, min: number, max: number): SettingKind<number> {
  const allowed = `an integer from ${min} to ${max}`;
  return {
    placeholder: unit,
    allowed,
    read(text) {
      const value = Number(text);
      const valid =
        /^\d+$/.test(text) && Number.isSafeInteger(value) && value >= min && value <= max;
      return valid ? { value } : { expected: allowed };
    },
    print: String,
  };
}

/** An unsigned 64-bit integer of at least `min`, decimal or hexadecimal (0x…). */
export function unsigned64(min: bigint): SettingKind<bigint> {
  const allowed = `an integer from ${min} to 18446744073709551615 (or hexadecimal: 0x2a)`;
  return {
    placeholder: 'N',
    allowed,
    read(text) {
      if (!/^(\d{1,20}|0x[0-9a-fA-F]{1,16})$/.test(text)) return { expected: allowed };
      const value = BigInt(text);
      return value >= min && value < 1n << 64n ? { value } : { expected: allowed };
    },
    print: String,
  };
}

const addressForms = 'HOST:PORT, [IPV6]:PORT or @NAME (an abstract unix socket)';

/** One address, kept as written: servers are known by this very string. */
export const address: SettingKind<string> = {
  placeholder: 'ADDRESS',
  allowed: addressForms,
  read: (text) => (parseAddress(text) === undefined ? { expected: addressForms } : { value: text }),
  print: String,
};

/** Several addresses, separated by commas; in the file a list is fine too. */
export const addresses: SettingKind<readonly string[]> = {
  placeholder: 'ADDRESS[,ADDRESS…]',
  allowed: `one or more of ${addressForms}, separated by commas`,
  read(text) {
    const value = text.split(',').map((part) => part.trim());
    const valid = value.every((part) => parseAddress(part) !== undefined);
    return valid ? { value } : { expected: this.allowed };
  },
  print: (value) => value.join(','),
};

/** A path, relative to the working directory. */
export function path(placeholder: string): SettingKind<string> {
  return {
    placeholder,
    allowed: 'a path',
    read: (text) => (text === '' || text.includes('\0') ? { expected: 'a path' } : { value: text }),
    print: String,
  };
}

/** One of a few words. */
export function choice<const Word extends string>(words: readonly Word[]): SettingKind<Word> {
  const allowed = `one of ${words.join(', ')}`;
  return {
    placeholder: words.join('|'),
    allowed,
    read(text) {
      const word = words.find((candidate) => candidate === text);
      return word === undefined ? { expected: allowed } : { value: word };
    },
    print: String,
  };
}

/** True or false; on the command line the flag alone. */
export const flag: SettingKind<boolean> = {
  placeholder: '',
  allowed: 'true or false',
  read: (text) =>
    text === 'true' || text === 'false'
      ? { value: text === 'true' }
      : { expected: 'true or false' },
  print: String,
};
