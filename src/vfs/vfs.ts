import { assert } from '../base/assert.ts';
import type { Database } from './database.ts';
import { type LinearMemory, latin1At } from './linear-memory.ts';
import { MainFile } from './main-file.ts';
import { fileControl, openFlag, resultCode } from './sqlite-codes.ts';
import { TemporaryFile, TemporarySpace } from './temporary-file.ts';

/** Answers a pragma in SQLite's place. */
export interface PragmaAnswer {
  readonly code: number;
  /** The one value of its one row, or the error message; undefined for none. */
  readonly text?: string;
}

/** Asked for every pragma that is compiled on a main database. Undefined: SQLite handles it. */
export type PragmaHandler = (
  file: MainFile,
  name: string,
  argument: string | undefined,
) => PragmaAnswer | undefined;

/**
 * SQLite's virtual file system over the page store: one method for each callback that a build calls, with
 * pointers into that build's memory. Files are known by the address of their `sqlite3_file`.
 *
 * Everything but the main database of a connection is a temporary file, whatever its name.
 */
export class Vfs {
  readonly temporarySpace: TemporarySpace;
  /** Bits of xDeviceCharacteristics. */
  readonly deviceCharacteristics: number;
  onPragma: PragmaHandler | undefined;
  readonly #mainFiles = new Map<number, MainFile>();
  readonly #temporaryFiles = new Map<number, TemporaryFile>();
  #memory: LinearMemory | undefined;
  /** The database that the connection being opened is for. */
  #opening: Database | undefined;
  #opened: MainFile | undefined;

  constructor(temporaryLimitBytes: number, deviceCharacteristics: number) {
    this.temporarySpace = new TemporarySpace(temporaryLimitBytes);
    this.deviceCharacteristics = deviceCharacteristics;
  }

  /** The memory that pointers point into: set once, when the build is instantiated. */
  attach(memory: LinearMemory): void {
    this.#memory = memory;
  }

  /** Runs `open`, in which SQLite opens one main database file, and returns that file. */
  opening(database: Database, open: () => void): MainFile | undefined {
    this.#opening = database;
    this.#opened = undefined;
    try {
      open();
      return this.#opened;
    } finally {
      this.#opening = undefined;
    }
  }

  /** Lets go of every lock and pin: the build will not be called again. */
  abandon(): void {
    for (const file of this.#mainFiles.values()) file.abandon();
    for (const file of this.#temporaryFiles.values()) file.close();
    this.#mainFiles.clear();
    this.#temporaryFiles.clear();
  }

  open(file: number, flags: number): number {
    if ((flags & openFlag.mainDatabase) === 0) {
      this.#temporaryFiles.set(file, new TemporaryFile(this.temporarySpace));
      return resultCode.ok;
    }
    // A second main database would be one that a client attached.
    if (this.#opening === undefined) return resultCode.cannotOpen;
    this.#opened = new MainFile(this.#opening);
    this.#opening = undefined;
    this.#mainFiles.set(file, this.#opened);
    return resultCode.ok;
  }

  /** The full name of a database is what its client opened, so that `PRAGMA database_list` says so. */
  fullPathname(name: number, capacity: number, target: number): number {
    const { bytes } = this.#attached;
    const length = this.#opening?.name.length ?? bytes.indexOf(0, name) - name;
    if (length + 1 > capacity) return resultCode.cannotOpen;
    if (this.#opening === undefined) bytes.copyWithin(target, name, name + length);
    else Buffer.from(bytes.buffer, target, length).write(this.#opening.name, 'latin1');
    bytes[target + length] = 0;
    return resultCode.ok;
  }

  close(file: number): number {
    const main = this.#mainFiles.get(file);
    if (main !== undefined) {
      main.abandon();
      this.#mainFiles.delete(file);
    } else {
      this.#temporaryFiles.get(file)?.close();
      this.#temporaryFiles.delete(file);
    }
    return resultCode.ok;
  }

  read(file: number, pointer: number, length: number, offset: number): number {
    return this.#file(file).read(this.#attached.bytes, pointer, length, offset);
  }

  write(file: number, pointer: number, length: number, offset: number): number {
    return this.#file(file).write(this.#attached.bytes, pointer, length, offset);
  }

  truncate(file: number, sizeBytes: number): number {
    return this.#file(file).truncate(sizeBytes);
  }

  fileSize(file: number, target: number): number {
    const { sizeBytes } = this.#file(file);
    this.#attached.writeInt32(target, sizeBytes | 0);
    this.#attached.writeInt32(target + 4, Math.floor(sizeBytes / 0x1_0000_0000));
    return resultCode.ok;
  }

  lock(file: number, level: number): number {
    const main = this.#mainFiles.get(file);
    return main === undefined ? resultCode.ok : main.lock(level);
  }

  unlock(file: number, level: number): number {
    const main = this.#mainFiles.get(file);
    return main === undefined ? resultCode.ok : main.unlock(level);
  }

  checkReservedLock(file: number, target: number): number {
    const main = this.#mainFiles.get(file);
    this.#attached.writeInt32(target, main?.database.writing === true ? 1 : 0);
    return resultCode.ok;
  }

  fileControl(file: number, operation: number, argument: number): number {
    const main = this.#mainFiles.get(file);
    if (main === undefined) return resultCode.notFound;
    switch (operation) {
      case fileControl.commitPhaseTwo:
        return main.commitPhaseTwo();
      case fileControl.pragma:
        return this.#pragma(main, argument);
      default: {
        // Pages are not seen by others before the transaction ends: every batch is atomic.
        const batch =
          operation >= fileControl.beginAtomic && operation <= fileControl.rollbackAtomic;
        return batch ? resultCode.ok : resultCode.notFound;
      }
    }
  }

  /** `argument` is `char *[]`: the answer, the pragma's name, its argument or NULL. */
  #pragma(main: MainFile, argument: number): number {
    if (this.onPragma === undefined) return resultCode.notFound;
    const memory = this.#attached;
    const name = latin1At(memory.bytes, memory.readUint32(argument + 4)).toLowerCase();
    const value = memory.readUint32(argument + 8);
    const text = value === 0 ? undefined : latin1At(memory.bytes, value);
    const answer = this.onPragma(main, name, text);
    if (answer === undefined) return resultCode.notFound;
    if (answer.text !== undefined) {
      const pointer = memory.allocate(answer.text.length + 1);
      if (pointer === 0) return resultCode.noMemory;
      Buffer.from(memory.bytes.buffer, pointer).write(`${answer.text}\0`, 'latin1');
      memory.writeInt32(argument, pointer);
    }
    return answer.code;
  }

  #file(file: number): MainFile | TemporaryFile {
    const found = this.#mainFiles.get(file) ?? this.#temporaryFiles.get(file);
    assert(found !== undefined, 'SQLite uses files that it has opened');
    return found;
  }

  get #attached(): LinearMemory {
    assert(this.#memory !== undefined, 'the memory is attached before SQLite is called');
    return this.#memory;
  }
}
