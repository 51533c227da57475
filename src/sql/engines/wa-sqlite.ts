import { assert } from '../../base/assert.ts';
import { latin1At } from '../../vfs/linear-memory.ts';
import { apiNames, type SqliteApi, type SqliteBuild } from './build.ts';
import { wrapCallbacks } from './callback-module.ts';
import type { EngineHost } from './host.ts';
import { refuse, type SystemImport, systemImports, writeLocalTime } from './system-imports.ts';
import { WasmMemory } from './wasm-memory.ts';

/** The 2 GiB that the module was linked for. */
const limitBytes = 0x8000_0000;

/**
 * Instantiates wa-sqlite's synchronous build, npm `@journeyapps/wa-sqlite`. Its exports and imports have short
 * names; `glue`, the JavaScript file beside it, says what they stand for. 64-bit integers are pairs of numbers.
 *
 * The build's own way to call JavaScript looks every callback up by name. Here callbacks take the places of
 * system calls in its function table, which cannot grow.
 */
export function instantiateWaSqlite(
  module: WebAssembly.Module,
  glue: string,
  host: EngineHost,
): SqliteBuild {
  // The build exports its memory, so that it exists only after the instance; no import runs before.
  let memory: WasmMemory | undefined;
  const attached = () => {
    assert(memory !== undefined, 'the build is instantiated');
    return memory;
  };
  const { exports } = new WebAssembly.Instance(module, importsFor(module, glue, attached, host));
  const names = exportNames(glue);
  const symbol = (name: string) => {
    const value = exports[names.get(name) ?? ''];
    assert(value !== undefined, `the build has ${name}`);
    return value;
  };
  memory = new WasmMemory(symbol('wasmMemory') as WebAssembly.Memory, limitBytes);
  // Checked by the lookup; the package is pinned to one version.
  const api = Object.fromEntries(
    apiNames.map((name) => [name, symbol(`_${name}`)]),
  ) as unknown as SqliteApi;
  memory.useAllocator(api.sqlite3_malloc, api.sqlite3_free);
  (symbol('___wasm_call_ctors') as () => void)();
  assert(api.sqlite3_initialize() === 0, 'SQLite initializes');
  const table = symbol('wasmTable') as WebAssembly.Table;
  return {
    name: `wa-sqlite ${latin1At(memory.bytes, api.sqlite3_libversion())}`,
    api,
    memory,
    batchAtomic: true,
    columnDeclaredType: () => 0,
    install(callbacks) {
      const wrapped = Object.entries(wrapCallbacks(callbacks));
      const places = systemCallPlaces(attached(), api, table);
      assert(places.length >= wrapped.length, 'there are enough system calls');
      const pointers = wrapped.map(([name, made], i) => {
        const place = places[i] ?? 0;
        table.set(place, made);
        return [name, place];
      });
      return Object.fromEntries(pointers) as Record<keyof typeof callbacks, number>;
    },
    ...wideFunctions(symbol, memory),
  };
}

type Symbols = (name: string) => WebAssembly.ExportValue;
type Numeric = (...parameters: number[]) => number;

function wideFunctions(symbol: Symbols, memory: WasmMemory) {
  const bindInteger = symbol('_sqlite3_bind_int64') as Numeric;
  const columnInteger = symbol('_sqlite3_column_int64') as Numeric;
  const lastInsertRowid = symbol('_sqlite3_last_insert_rowid') as Numeric;
  const changes = symbol('_sqlite3_changes64') as Numeric;
  const highWord = symbol('__emscripten_tempret_get') as () => number;
  const configure = symbol('_sqlite3_db_config') as Numeric;
  // Two C int arguments of a variadic function: the value, and no pointer for the result.
  const variadic = memory.allocate(8);
  const wide = (low: number) => (BigInt(highWord()) << 32n) | BigInt(low >>> 0);
  return {
    bindInteger: (statement: number, index: number, value: bigint) =>
      bindInteger(statement, index, Number(value & 0xffff_ffffn) | 0, Number(value >> 32n)),
    columnInteger: (statement: number, column: number) => wide(columnInteger(statement, column)),
    lastInsertRowid: (connection: number) => wide(lastInsertRowid(connection)),
    changes: (connection: number) => wide(changes(connection)),
    configure(connection: number, option: number, value: number) {
      memory.writeInt32(variadic, value);
      memory.writeInt32(variadic + 4, 0);
      const code = configure(connection, option, variadic);
      assert(code === 0, 'sqlite3_db_config takes the option');
    },
  };
}

/**
 * Places in the function table that only SQLite's own file systems use, which are never called here: their
 * system calls, and their `xOpen`.
 */
function systemCallPlaces(memory: WasmMemory, api: SqliteApi, table: WebAssembly.Table): number[] {
  // Members of sqlite3_vfs, as 32-bit words.
  const member = { xOpen: 6, xGetSystemCall: 20, xNextSystemCall: 21 };
  const unix = api.sqlite3_vfs_find(0);
  const word = (index: number) => memory.readUint32(unix + 4 * index);
  const nextSystemCall: Numeric = table.get(word(member.xNextSystemCall));
  const getSystemCall: Numeric = table.get(word(member.xGetSystemCall));
  const places = new Set([word(member.xOpen)]);
  let name = nextSystemCall(unix, 0);
  while (name !== 0) {
    places.add(getSystemCall(unix, name));
    name = nextSystemCall(unix, name);
  }
  places.delete(0);
  return [...places];
}

/** `Module["_sqlite3_step"]=wasmExports["Nb"]`, `wasmMemory=wasmExports["pa"]`. */
function exportNames(glue: string): Map<string, string> {
  const names = new Map<string, string>();
  const assignments = /(?:Module\["(\w+)"\]|(\w+))=wasmExports\["([^"]+)"\]/g;
  for (const [, member, variable, short] of glue.matchAll(assignments)) {
    const name = member ?? variable;
    if (name !== undefined && short !== undefined) names.set(name, short);
  }
  return names;
}

/** `wasmImports={a:___assert_fail,…}`: long names have one underscore more than the imports themselves. */
function importNames(glue: string): Map<string, string> {
  const list = /wasmImports=\{([^}]*)\}/.exec(glue)?.[1];
  assert(list !== undefined, 'the glue lists its imports');
  const names = new Map<string, string>();
  for (const item of list.split(',')) {
    const [short, long] = item.split(':');
    if (short !== undefined && long !== undefined) names.set(short, long.slice(1));
  }
  return names;
}

function importsFor(
  module: WebAssembly.Module,
  glue: string,
  memory: () => WasmMemory,
  host: EngineHost,
): WebAssembly.Imports {
  const known: Record<string, SystemImport> = {
    ...systemImports(host, memory),
    _localtime_js: (low: number, high: number, target: number) =>
      writeLocalTime(memory(), high * 0x1_0000_0000 + (low >>> 0), target),
  };
  const names = importNames(glue);
  const group: Record<string, SystemImport> = {};
  for (const { name } of WebAssembly.Module.imports(module)) {
    group[name] = known[names.get(name) ?? ''] ?? refuse;
  }
  return { a: group };
}
