import { resultCode } from '../../vfs/sqlite-codes.ts';
import type { Vfs } from '../../vfs/vfs.ts';
import { authorize } from '../authorizer.ts';
import type { Callback, CallbackType } from './callback-module.ts';
import type { EngineHost } from './host.ts';
import type { WasmMemory } from './wasm-memory.ts';

/** Milliseconds from SQLite's epoch, noon in Greenwich on 24 November 4714 BC, to 1970. */
const julianMsOf1970 = 210_866_760_000_000;

/** Hears what the authorizer is asked while a statement of a connection is compiled. */
export type CompileWatcher = (
  connection: number,
  code: number,
  first: number,
  second: number,
  database: number,
) => void;

/** Everything that C calls, by the names of `sqlite3_vfs` and `sqlite3_io_methods`. */
export function callbacksFor(
  vfs: Vfs,
  memory: WasmMemory,
  host: EngineHost,
  ioMethods: number,
  shouldStop: (connection: number) => boolean,
  compiles: CompileWatcher,
) {
  return {
    xOpen: callback('iiiii', (_vfs, _name, file, flags, flagsTarget) => {
      const code = vfs.open(file, flags);
      // SQLite closes a file only if this pointer is there.
      memory.writeInt32(file, code === resultCode.ok ? ioMethods : 0);
      if (flagsTarget !== 0) memory.writeInt32(flagsTarget, flags);
      return code;
    }),
    ...fileSystemCallbacks(vfs, memory, host),
    ...fileCallbacks(vfs),
    authorize: callback('iiiiii', (connection, code, first, second, database) => {
      compiles(connection, code, first, second, database);
      return authorize(memory, code, first, second);
    }),
    progress: callback('i', (connection) => (shouldStop(connection) ? 1 : 0)),
  };
}

function fileSystemCallbacks(vfs: Vfs, memory: WasmMemory, host: EngineHost) {
  return {
    xDelete: callback('iii', () => resultCode.ok),
    // There is never a journal or a log of an earlier process.
    xAccess: callback('iiii', (_vfs, _name, _flags, target) => {
      memory.writeInt32(target, 0);
      return resultCode.ok;
    }),
    xFullPathname: callback('iiii', (_vfs, name, capacity, target) =>
      vfs.fullPathname(name, capacity, target),
    ),
    xRandomness: callback('iii', (_vfs, length, target) => {
      host.randomBytes(memory.bytes.subarray(target, target + length));
      return length;
    }),
    xSleep: callback('ii', () => 0),
    xCurrentTimeInt64: callback('ii', (_vfs, target) => {
      const now = BigInt(Math.floor(host.wallClockMs()) + julianMsOf1970);
      memory.view.setBigInt64(target, now, true);
      return resultCode.ok;
    }),
  };
}

function fileCallbacks(vfs: Vfs) {
  return {
    xClose: callback('i', (file) => vfs.close(file)),
    xRead: callback('iiil', (file, pointer, length, offset) =>
      vfs.read(file, pointer, length, offset),
    ),
    xWrite: callback('iiil', (file, pointer, length, offset) =>
      vfs.write(file, pointer, length, offset),
    ),
    xTruncate: callback('il', (file, sizeBytes) => vfs.truncate(file, sizeBytes)),
    xSync: callback('ii', () => resultCode.ok),
    xFileSize: callback('ii', (file, target) => vfs.fileSize(file, target)),
    xLock: callback('ii', (file, level) => vfs.lock(file, level)),
    xUnlock: callback('ii', (file, level) => vfs.unlock(file, level)),
    xCheckReservedLock: callback('ii', (file, target) => vfs.checkReservedLock(file, target)),
    xFileControl: callback('iii', (file, operation, argument) =>
      vfs.fileControl(file, operation, argument),
    ),
    xSectorSize: callback('i', () => 4096),
    xDeviceCharacteristics: callback('i', () => vfs.deviceCharacteristics),
  };
}

/** `types` has one letter for each parameter: `i` for a pointer or an int, `l` for a 64-bit integer. */
function callback(types: string, run: Callback['run']): Callback {
  const parameters = [...types].map((type): CallbackType => (type === 'l' ? 'int64' : 'int32'));
  return { parameters, run };
}
