import { latin1At } from '../vfs/linear-memory.ts';
import type { WasmMemory } from './engines/wasm-memory.ts';

// Action codes: https://www.sqlite.org/c3ref/c_alter_table.html
const action = {
  createTemporaryIndex: 3,
  createTemporaryTable: 4,
  createTemporaryTrigger: 5,
  createTemporaryView: 6,
  delete: 9,
  insert: 18,
  pragma: 19,
  read: 20,
  update: 23,
  attach: 24,
  detach: 25,
  analyze: 28,
  createVirtualTable: 29,
  function: 31,
} as const;

/** Functions that answer with what their connection did before. */
const ownFunctions: ReadonlySet<string> = new Set([
  'changes',
  'total_changes',
  'last_insert_rowid',
]);

/** Tables without a place in the database that show something of their connection. */
const ownTables: ReadonlySet<string> = new Set(['sqlite_stmt', 'bytecode', 'tables_used']);
const pragmaTables = 'pragma_';

/**
 * Pragmas whose argument says what to look at or is written into the database, or that no query can tell: those of
 * writers, and those that have no effect here.
 */
const harmlessPragmas: ReadonlySet<string> = new Set([
  'application_id',
  'cache_size',
  'defer_foreign_keys',
  'foreign_key_check',
  'foreign_key_list',
  'foreign_keys',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
  'temp_store',
  'user_version',
]);

/**
 * What the statements that were compiled on a connection have to do with that connection rather than with its database,
 * as SQLite's authorizer hears of it: while it compiles, also when it does so again within a step.
 */
export class ConnectionUses {
  /**
   * A statement was compiled that gives the connection state of its own: a setting, a temporary or an attached schema.
   * Many settings count from then on, the rest might.
   */
  customized = false;
  /** The statement answers with something of its connection. */
  bound = false;
  /** The statement gathers the statistics by which queries are planned. */
  analyzes = false;

  /** Another statement is about to be compiled, or to be run and maybe compiled again. */
  begin(): void {
    this.bound = false;
    this.analyzes = false;
  }

  /** The authorizer is asked for an action. `first`, `second` and `database` point to texts, 0 for none. */
  note(memory: WasmMemory, code: number, first: number, second: number, database: number): void {
    switch (code) {
      case action.read:
        this.bound ||= isOwnTable(memory, first);
        break;
      case action.function:
        this.bound ||= ownFunctions.has(textAt(memory, second));
        break;
      case action.insert:
      case action.update:
      case action.delete:
      case action.createVirtualTable:
        this.customized ||= textAt(memory, database) === 'temp';
        break;
      case action.pragma:
        this.#notePragma(textAt(memory, first), second !== 0);
        break;
      case action.analyze:
        this.analyzes = true;
        break;
      case action.createTemporaryIndex:
      case action.createTemporaryTable:
      case action.createTemporaryTrigger:
      case action.createTemporaryView:
      case action.attach:
      case action.detach:
        this.customized = true;
        break;
    }
  }

  #notePragma(name: string, hasArgument: boolean): void {
    if (name === 'optimize') this.analyzes = true;
    if (hasArgument && !harmlessPragmas.has(name)) this.customized = true;
  }
}

function isOwnTable(memory: WasmMemory, name: number): boolean {
  // Asked for every column: most names are told apart by their first letter.
  if (!ownInitials.has(memory.bytes[name] ?? 0)) return false;
  const text = textAt(memory, name);
  return ownTables.has(text) || text.startsWith(pragmaTables);
}

const ownInitials: ReadonlySet<number> = new Set(
  [...ownTables, pragmaTables].flatMap((name) =>
    [name, name.toUpperCase()].map((spelling) => spelling.charCodeAt(0)),
  ),
);

function textAt(memory: WasmMemory, pointer: number): string {
  return pointer === 0 ? '' : latin1At(memory.bytes, pointer).toLowerCase();
}
