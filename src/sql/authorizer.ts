import type { WasmMemory } from './engines/wasm-memory.ts';

// Action codes and answers: https://www.sqlite.org/c3ref/c_alter_table.html
const action = { delete: 9, insert: 18, pragma: 19, update: 23, attach: 24 } as const;
const allow = 0;
const deny = 1;

/** Which uses of a pragma are refused. */
type Refusal = 'setter' | 'always';

/**
 * Pragmas that SQLite may not be asked to run (docs/wire-protocol.md, "Refused SQL"). The first eight are
 * refused by every dqlite server. The last two bound the memory of the whole engine: one client must not take
 * it from all others.
 */
export const refusedPragmas: Readonly<Record<string, Refusal>> = {
  journal_mode: 'setter',
  page_size: 'setter',
  synchronous: 'setter',
  wal_autocheckpoint: 'setter',
  wal_checkpoint: 'always',
  busy_timeout: 'always',
  read_uncommitted: 'always',
  locking_mode: 'always',
  hard_heap_limit: 'setter',
  soft_heap_limit: 'setter',
};

/** Tables whose rows are the raw pages of the database file: writing there goes around every rule. */
const rawPageTable = 'sqlite_dbpage';

/**
 * SQLite's authorizer callback: asked while a statement is compiled. `first` and `second` point to what the
 * action is about, 0 for nothing.
 */
export function authorize(memory: WasmMemory, code: number, first: number, second: number): number {
  switch (code) {
    case action.pragma:
      return pragmaRefused(text(memory, first), second !== 0) ? deny : allow;
    case action.attach:
      // '' is a temporary database. A name that is an expression or a parameter arrives as 0.
      return first !== 0 && memory.bytes[first] === 0 ? allow : deny;
    case action.insert:
    case action.update:
    case action.delete:
      return text(memory, first) === rawPageTable ? deny : allow;
    default:
      return allow;
  }
}

function pragmaRefused(name: string, sets: boolean): boolean {
  const refusal = Object.hasOwn(refusedPragmas, name) ? refusedPragmas[name] : undefined;
  return refusal === 'always' || (refusal === 'setter' && sets);
}

function text(memory: WasmMemory, pointer: number): string {
  if (pointer === 0) return '';
  const { bytes } = memory;
  const end = bytes.indexOf(0, pointer);
  return Buffer.from(bytes.buffer, pointer, end - pointer)
    .toString('latin1')
    .toLowerCase();
}
