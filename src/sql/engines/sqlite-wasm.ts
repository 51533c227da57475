import { assert } from '../../base/assert.ts';
import { latin1At } from '../../vfs/linear-memory.ts';
import { apiNames, type SqliteApi, type SqliteBuild } from './build.ts';
import { wrapCallbacks } from './callback-module.ts';
import type { EngineHost } from './host.ts';
import { refuse, type SystemImport, systemImports, writeLocalTime } from './system-imports.ts';
import { WasmMemory } from './wasm-memory.ts';

/** 64 KiB pages: 16 MiB to begin with, and the 2 GiB that the module was linked for. */
const initialPages = 256;
const maximumPages = 32_768;

/**
 * SQLITE_CONFIG_LOOKASIDE: small allocations that each connection keeps for itself. SQLite's 120 KB for each are most of
 * what an idle connection would cost, and save nothing that can be measured here.
 */
const configLookaside = 13;
const lookasideBytes = 512;
const lookasideCount = 32;

/** Instantiates sqlite.org's own build, npm `@sqlite.org/sqlite-wasm`. 64-bit integers are BigInts. */
export function instantiateSqliteWasm(module: WebAssembly.Module, host: EngineHost): SqliteBuild {
  const wasm = new WebAssembly.Memory({ initial: initialPages, maximum: maximumPages });
  const memory = new WasmMemory(wasm, maximumPages * 65_536);
  const { exports } = new WebAssembly.Instance(module, importsFor(module, wasm, memory, host));
  // Checked by the lookup below; the package is pinned to one version.
  const call = exports as unknown as SqliteApi & WideApi;
  for (const name of [...apiNames, ...wideNames]) {
    assert(typeof call[name] === 'function', `the build has ${name}`);
  }
  memory.useAllocator(call.sqlite3_malloc, call.sqlite3_free);
  call.__wasm_call_ctors();
  const lookaside = call.sqlite3__wasm_config_ii(configLookaside, lookasideBytes, lookasideCount);
  assert(lookaside === 0, 'sqlite3_config takes the option');
  assert(call.sqlite3_initialize() === 0, 'SQLite initializes');
  const { __indirect_function_table: table } = call;
  return {
    name: `sqlite-wasm ${latin1At(memory.bytes, call.sqlite3_libversion())}`,
    api: call,
    memory,
    batchAtomic: false,
    install(callbacks) {
      const wrapped = Object.entries(wrapCallbacks(callbacks));
      const first = table.grow(wrapped.length);
      for (const [i, [, made]] of wrapped.entries()) table.set(first + i, made);
      const pointers = wrapped.map(([name], i) => [name, first + i]);
      return Object.fromEntries(pointers) as Record<keyof typeof callbacks, number>;
    },
    configure(connection, option, value) {
      const code = call.sqlite3__wasm_db_config_ip(connection, option, value, 0);
      assert(code === 0, 'sqlite3_db_config takes the option');
    },
    bindInteger: (statement, index, value) => call.sqlite3_bind_int64(statement, index, value),
    columnInteger: (statement, column) => call.sqlite3_column_int64(statement, column),
    lastInsertRowid: (connection) => call.sqlite3_last_insert_rowid(connection),
    changes: (connection) => call.sqlite3_changes64(connection),
    columnDeclaredType: (statement, column) => call.sqlite3_column_decltype(statement, column),
  };
}

const wideNames = [
  '__wasm_call_ctors',
  'sqlite3__wasm_config_ii',
  'sqlite3__wasm_db_config_ip',
  'sqlite3_bind_int64',
  'sqlite3_column_int64',
  'sqlite3_last_insert_rowid',
  'sqlite3_changes64',
  'sqlite3_column_decltype',
] as const;

interface WideApi {
  readonly __indirect_function_table: WebAssembly.Table;
  __wasm_call_ctors(): void;
  sqlite3__wasm_config_ii(option: number, first: number, second: number): number;
  sqlite3__wasm_db_config_ip(db: number, option: number, value: number, result: number): number;
  sqlite3_bind_int64(statement: number, index: number, value: bigint): number;
  sqlite3_column_int64(statement: number, column: number): bigint;
  sqlite3_last_insert_rowid(connection: number): bigint;
  sqlite3_changes64(connection: number): bigint;
  sqlite3_column_decltype(statement: number, column: number): number;
}

function importsFor(
  module: WebAssembly.Module,
  wasm: WebAssembly.Memory,
  memory: WasmMemory,
  host: EngineHost,
): WebAssembly.Imports {
  const known: Record<string, SystemImport> = {
    ...systemImports(host, () => memory),
    _localtime_js: (seconds: bigint, target: number) =>
      writeLocalTime(memory, Number(seconds), target),
    clock_time_get: (_clock: number, _precision: bigint, target: number) => {
      memory.view.setBigUint64(target, BigInt(host.wallClockMs()) * 1_000_000n, true);
      return 0;
    },
  };
  const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const group = imports[from] ?? {};
    imports[from] = group;
    group[name] = kind === 'memory' ? wasm : (known[name] ?? refuse);
  }
  return imports;
}
