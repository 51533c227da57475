import { DqliteError } from '../../base/errors.ts';
import type { RowShape } from '../../protocol/row-writer.ts';
import type { Database } from '../../vfs/database.ts';
import { cStringLength } from '../../vfs/linear-memory.ts';
import type { MainFile } from '../../vfs/main-file.ts';
import { batchAtomic, openFlag, resultCode } from '../../vfs/sqlite-codes.ts';
import { Vfs } from '../../vfs/vfs.ts';
import { SqliteConnection } from '../connection.ts';
import { EngineBroken } from '../engine.ts';
import type { SqliteBuild } from './build.ts';
import { type CompileWatcher, callbacksFor } from './callbacks.ts';
import type { EngineHost } from './host.ts';
import { packerFor, type RowPacker } from './row-packer.ts';
import { TextArea } from './text-area.ts';
import { layoutProbe, strideOfValues } from './value-layout.ts';
import { ioMethodsBytes, registerVfs } from './vfs-structs.ts';

/**
 * SQLite in one WASM instance: the calls that can run SQLite's own code, each of which may end in a trap. After
 * one the state of the instance is unknown, and nothing in it is called again.
 */
export class SqliteCore {
  readonly build: SqliteBuild;
  readonly text: TextArea;
  readonly vfs: Vfs;
  /** Address right after what `prepare` consumed. */
  tail = 0;
  broken = false;
  /** Packs rows inside the instance; undefined when their values cannot be read from its memory. */
  packer: RowPacker | undefined;
  #probed = false;
  /** By `sqlite3 *`. */
  readonly #connections = new Map<number, SqliteConnection>();
  readonly #byFile = new Map<MainFile, SqliteConnection>();
  readonly #callbacks: Readonly<Record<'authorize' | 'progress', number>>;
  readonly #fileName: number;
  /** Two pointers that C functions write results to. */
  readonly #results: number;

  constructor(build: SqliteBuild, host: EngineHost, temporaryBytes: number) {
    this.build = build;
    const { memory } = build;
    this.vfs = new Vfs(temporaryBytes, build.batchAtomic ? batchAtomic : 0);
    this.vfs.attach(memory);
    this.vfs.onPragma = (file, name, argument) =>
      this.#byFile.get(file)?.pragmas.answer(file, name, argument);
    const ioMethods = memory.allocate(ioMethodsBytes);
    const stops = (pointer: number) => this.#connections.get(pointer)?.shouldStop?.() === true;
    const compiles: CompileWatcher = (pointer, code, first, second, database) =>
      this.#connections.get(pointer)?.uses.note(memory, code, first, second, database);
    const pointers = build.install(
      callbacksFor(this.vfs, memory, host, ioMethods, stops, compiles),
    );
    registerVfs(build, pointers, ioMethods);
    this.#callbacks = pointers;
    this.text = new TextArea(memory);
    // Never a client's name: SQLite gives names like ":memory:" a meaning.
    this.#fileName = memory.permanentCString('main');
    this.#results = memory.allocate(8);
  }

  /** Opens a connection as SQLite makes it. */
  open(database: Database): SqliteConnection {
    const { api, memory } = this.build;
    const flags = openFlag.readWrite | openFlag.create;
    let code: number = resultCode.ok;
    const file = this.vfs.opening(database, () => {
      this.#check();
      try {
        code = api.sqlite3_open_v2(this.#fileName, this.#results, flags, 0);
      } catch (error) {
        throw this.#brokenBy(error);
      }
    });
    const pointer = memory.readUint32(this.#results);
    if (code === resultCode.ok && file !== undefined) {
      const connection = new SqliteConnection(this, file, pointer);
      this.#connections.set(pointer, connection);
      return connection;
    }
    const message = pointer === 0 ? 'out of memory' : this.errorMessage(pointer);
    if (pointer !== 0) api.sqlite3_close_v2(pointer);
    throw DqliteError.fromSqlite(code, message);
  }

  /** Looks once, on the first connection, whether rows can be read from memory. */
  probeValues({ pointer }: SqliteConnection): void {
    if (this.#probed) return;
    this.#probed = true;
    const sql = Buffer.from(layoutProbe);
    const statement = this.prepare(pointer, this.text.place(sql, 0), sql.length + 1);
    if (statement <= 0) return;
    if (this.step(statement) === resultCode.row) {
      const stride = strideOfValues(this.build, statement);
      if (stride > 0) this.packer = packerFor(this.build, stride);
    }
    this.finalize(statement);
  }

  /** From now on clients decide what the connection compiles. */
  admitClients(connection: SqliteConnection): void {
    this.#byFile.set(connection.file, connection);
    const { api } = this.build;
    const { pointer } = connection;
    api.sqlite3_set_authorizer(pointer, this.#callbacks.authorize, pointer);
  }

  /** Calls `shouldStop` of the connection every `steps` virtual machine steps; 0 ends that. */
  watchProgress({ pointer }: SqliteConnection, steps: number): void {
    const { api } = this.build;
    api.sqlite3_progress_handler(pointer, steps, this.#callbacks.progress, pointer);
  }

  /** A `sqlite3_stmt *`; 0 when there was nothing to compile, -1 after a failure. Sets `tail`. */
  prepare(connection: number, start: number, lengthWithNul: number): number {
    this.#check();
    const { api, memory } = this.build;
    const results = this.#results;
    let code: number;
    try {
      code = api.sqlite3_prepare_v3(connection, start, lengthWithNul, 0, results, results + 4);
    } catch (error) {
      throw this.#brokenBy(error);
    }
    if (code !== resultCode.ok) return -1;
    this.tail = memory.readUint32(results + 4);
    return memory.readUint32(results);
  }

  step(statement: number): number {
    this.#check();
    try {
      return this.build.api.sqlite3_step(statement);
    } catch (error) {
      throw this.#brokenBy(error);
    }
  }

  /** Returns what the packer does. */
  packRows(
    packer: RowPacker,
    statement: number,
    shape: RowShape,
    onRow: boolean,
    limitBytes: number,
  ): number {
    this.#check();
    try {
      return packer.run(statement, shape, onRow, limitBytes);
    } catch (error) {
      throw this.#brokenBy(error);
    }
  }

  reset(statement: number): void {
    this.#check();
    try {
      this.build.api.sqlite3_reset(statement);
    } catch (error) {
      throw this.#brokenBy(error);
    }
  }

  finalize(statement: number): void {
    this.#check();
    try {
      this.build.api.sqlite3_finalize(statement);
    } catch (error) {
      throw this.#brokenBy(error);
    }
  }

  /** Frees a connection and its statements. Never throws. */
  close(connection: SqliteConnection): void {
    this.#connections.delete(connection.pointer);
    this.#byFile.delete(connection.file);
    try {
      for (const statement of connection.statements) statement.finalize();
      this.#check();
      this.build.api.sqlite3_close_v2(connection.pointer);
    } catch {
      // Broken now, if it was not before: the owner discards the instance, which frees everything.
      this.broken = true;
    }
  }

  /** Makes SQLite read the connection's schemas again. */
  forgetSchema(connection: SqliteConnection): void {
    this.execute(connection.pointer, 'PRAGMA writable_schema=RESET');
  }

  /** Runs statements of our own that answer nothing of interest. */
  execute(connection: number, sql: string): void {
    const { api } = this.build;
    for (const statement of sql.split(';')) {
      const bytes = Buffer.from(statement);
      const start = this.text.place(bytes, 0);
      const pointer = this.prepare(connection, start, bytes.length + 1);
      let code = pointer < 0 ? resultCode.error : this.step(pointer);
      while (code === resultCode.row) code = this.step(pointer);
      if (code !== resultCode.done) {
        const extended = api.sqlite3_extended_errcode(connection);
        throw DqliteError.fromSqlite(extended, this.errorMessage(connection));
      }
      this.finalize(pointer);
    }
  }

  /** SQLite's words for the last failure on a connection. */
  errorMessage(connection: number): string {
    const pointer = this.build.api.sqlite3_errmsg(connection) >>> 0;
    const { bytes } = this.build.memory;
    return Buffer.from(bytes.buffer, pointer, cStringLength(bytes, pointer)).toString();
  }

  /** Frees every lock and pin without calling the instance again. */
  discard(): void {
    this.broken = true;
    this.vfs.abandon();
    this.#connections.clear();
    this.#byFile.clear();
  }

  #check(): void {
    if (this.broken) throw new EngineBroken('the engine was discarded after a failure inside it');
  }

  #brokenBy(cause: unknown): EngineBroken {
    this.broken = true;
    return new EngineBroken('a call into the engine did not return', { cause });
  }
}
