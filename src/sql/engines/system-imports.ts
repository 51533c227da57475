import { assert } from '../../base/assert.ts';
import type { EngineHost } from './host.ts';
import type { WasmMemory } from './wasm-memory.ts';

/** A function that a build imports. 64-bit parameters are BigInts or pairs of numbers, as the build has it. */
export type SystemImport = (...parameters: never[]) => unknown;

/** "Function not implemented", as WASI and Emscripten number errors. */
const notImplemented = 52;

/**
 * The system calls that the builds import, under Emscripten's names. There is no file system, no environment
 * and no network behind them: whatever is not listed here is answered with "not implemented".
 */
export function systemImports(
  host: EngineHost,
  memory: () => WasmMemory,
): Readonly<Record<string, SystemImport>> {
  const fail = (what: string) => () => assert(false, `SQLite called ${what}`);
  return {
    emscripten_date_now: () => host.wallClockMs(),
    emscripten_get_now: () => host.wallClockMs(),
    emscripten_get_heap_max: () => memory().sizeBytes,
    emscripten_resize_heap: (neededBytes: number) => (memory().grow(neededBytes >>> 0) ? 1 : 0),
    environ_sizes_get: (count: number, sizeBytes: number) => {
      memory().writeInt32(count, 0);
      memory().writeInt32(sizeBytes, 0);
      return 0;
    },
    environ_get: () => 0,
    _tzset_js: () => 0,
    _abort_js: fail('abort'),
    __assert_fail: fail('assert'),
    proc_exit: fail('exit'),
  };
}

/** What a build gets for an import that is not listed. */
export const refuse: SystemImport = () => notImplemented;

/** Writes C's `struct tm` of local time: the `localtime` modifier of SQL's date functions. */
export function writeLocalTime(memory: WasmMemory, seconds: number, target: number): void {
  const date = new Date(seconds * 1000);
  const startOfYear = Date.UTC(date.getFullYear(), 0, 1);
  const today = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  const fields = [
    date.getSeconds(),
    date.getMinutes(),
    date.getHours(),
    date.getDate(),
    date.getMonth(),
    date.getFullYear() - 1900,
    date.getDay(),
    (today - startOfYear) / 86_400_000,
    // Daylight saving time: not used by SQLite.
    0,
    -date.getTimezoneOffset() * 60,
  ];
  for (const [i, field] of fields.entries()) memory.writeInt32(target + 4 * i, field);
}
