import type { Callback } from './callback-module.ts';
import type { WasmMemory } from './wasm-memory.ts';

/** The functions of SQLite's C interface that take and return nothing but 32-bit numbers and doubles. */
export const apiNames = [
  'sqlite3_initialize',
  'sqlite3_malloc',
  'sqlite3_free',
  'sqlite3_libversion',
  'sqlite3_vfs_find',
  'sqlite3_vfs_register',
  'sqlite3_vfs_unregister',
  'sqlite3_open_v2',
  'sqlite3_close_v2',
  'sqlite3_extended_result_codes',
  'sqlite3_extended_errcode',
  'sqlite3_errmsg',
  'sqlite3_errstr',
  'sqlite3_limit',
  'sqlite3_set_authorizer',
  'sqlite3_progress_handler',
  'sqlite3_get_autocommit',
  'sqlite3_prepare_v3',
  'sqlite3_step',
  'sqlite3_reset',
  'sqlite3_finalize',
  'sqlite3_sql',
  'sqlite3_stmt_readonly',
  'sqlite3_stmt_status',
  'sqlite3_clear_bindings',
  'sqlite3_bind_parameter_count',
  'sqlite3_bind_blob',
  'sqlite3_bind_double',
  'sqlite3_bind_null',
  'sqlite3_bind_text',
  'sqlite3_column_count',
  'sqlite3_column_name',
  'sqlite3_column_type',
  'sqlite3_column_value',
  'sqlite3_column_double',
  'sqlite3_column_blob',
  'sqlite3_column_text',
  'sqlite3_column_bytes',
] as const;

/** Those functions of a build. Pointers may come back negative: use `>>> 0`. */
export type SqliteApi = Readonly<
  Record<(typeof apiNames)[number], (...parameters: number[]) => number>
>;

/** One instantiated WASM build of SQLite: everything in which builds differ. */
export interface SqliteBuild {
  /** Name and SQLite version: "sqlite-wasm 3.51.1". */
  readonly name: string;
  readonly api: SqliteApi;
  readonly memory: WasmMemory;
  /** Writes to the journal happen as one, in memory: `SQLITE_ENABLE_BATCH_ATOMIC_WRITE`. */
  readonly batchAtomic: boolean;
  /** Makes functions callable from C; returns their pointers. Called once. */
  install<Name extends string>(
    callbacks: Readonly<Record<Name, Callback>>,
  ): Readonly<Record<Name, number>>;
  /** `sqlite3_db_config` with one integer. */
  configure(connection: number, option: number, value: number): void;
  bindInteger(statement: number, index: number, value: bigint): number;
  columnInteger(statement: number, column: number): bigint;
  lastInsertRowid(connection: number): bigint;
  changes(connection: number): bigint;
  /** Pointer to the declared type; 0 for none. */
  columnDeclaredType(statement: number, column: number): number;
}
