import type { RaftOptions } from '../../src/raft/raft.ts';
import type { Entry, Role } from '../../src/raft/types.ts';
import type { Directive } from '../support/datadriven.ts';
import { index, term } from './cluster.ts';

/** `standbys=4,5 spares=6`; the others are voters. */
export function roleIn(options: Directive['options'], n: number): Role {
  const has = (names: string | undefined) => names?.split(',').includes(String(n)) ?? false;
  if (has(options.standbys)) return 'standby';
  return has(options.spares) ? 'spare' : 'voter';
}

/** Options by the names they have in code, numbers all of them. */
export function optionsOf(options: Directive['options']): Partial<RaftOptions> {
  const entries = Object.entries(options).filter(([key]) => !['standbys', 'spares'].includes(key));
  return Object.fromEntries(entries.map(([key, value]) => [key, Number(value)]));
}

/** `2,2,3`: commands of these terms behind `prev`; `3!` a configuration that cannot be decoded. */
export function entriesOf(terms: string, prev: number): Entry[] {
  const words = terms.split(',').filter((word) => word !== '');
  return words.map((word, offset) => ({
    index: index(prev + 1 + offset),
    term: term(Number.parseInt(word, 10)),
    type: word.endsWith('!') ? 'change' : 'command',
    data: Buffer.alloc(8, 255),
  }));
}
