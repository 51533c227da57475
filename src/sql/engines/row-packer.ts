import { type RowShape, storageClass } from '../../protocol/row-writer.ts';
import type { Writer } from '../../protocol/words.ts';
import type { SqliteBuild } from './build.ts';
import { type PackRows, rowArea, rowAreaBytes, rowModule } from './row-module.ts';
import { valueFlag } from './value-layout.ts';
import { importedFrom, importedMemory } from './wasm-assembler.ts';
import type { WasmMemory } from './wasm-memory.ts';

/** Packs rows inside an instance of SQLite: a call from JavaScript and a copy for each message, not for each row. */
export class RowPacker {
  readonly #memory: WasmMemory;
  readonly #packRows: PackRows;
  readonly #area: number;
  /** The one whose type codes are in the area. */
  #shape: RowShape | undefined;

  /** @param area memory of `rowAreaBytes` that is the packer's own */
  constructor(memory: WasmMemory, packRows: PackRows, area: number) {
    this.#memory = memory;
    this.#packRows = packRows;
    this.#area = area;
  }

  /** Rows of so many columns can be packed. */
  fits({ codes }: RowShape): boolean {
    return codes.length <= rowArea.codesBytes;
  }

  /**
   * Packs rows into the area, as `packRows` of the row module says; returns what that does. Runs SQLite's code, which may
   * end in a trap.
   */
  run(statement: number, shape: RowShape, onRow: boolean, limitBytes: number): number {
    if (shape !== this.#shape) this.#place(shape);
    return this.#packRows(statement, shape.columnCount, onRow ? 1 : 0, this.#area, limitBytes);
  }

  /** Appends what `run` has packed; returns the number of rows. */
  appendTo(to: Writer): number {
    const { view, bytes } = this.#memory;
    const length = view.getInt32(this.#area + rowArea.lengthAt, true);
    const at = to.take(length);
    const from = this.#area + rowArea.rowsAt;
    to.bytes.set(bytes.subarray(from, from + length), at);
    return view.getInt32(this.#area + rowArea.rowCountAt, true);
  }

  #place(shape: RowShape): void {
    const { bytes } = this.#memory;
    const { columnCount, codes } = shape;
    const target = this.#area + rowArea.codesAt;
    for (let column = 0; column < columnCount; column++) {
      for (const [kind, bit] of bitOfKind) {
        bytes[target + 8 * column + bit] = codes[8 * column + kind] ?? 0;
      }
    }
    this.#shape = shape;
  }
}

/** A packer for an instance whose values lie `stride` bytes apart; undefined when its memory is exhausted. */
export function packerFor({ api, memory }: SqliteBuild, stride: number): RowPacker | undefined {
  const area = memory.allocate(rowAreaBytes);
  if (area === 0) return undefined;
  const module = new WebAssembly.Module(rowModule(stride));
  const { exports } = new WebAssembly.Instance(module, {
    [importedFrom]: {
      [importedMemory]: memory.shared,
      step: api.sqlite3_step,
      columnValue: api.sqlite3_column_value,
    },
  });
  return new RowPacker(memory, exports.packRows as PackRows, area);
}

/** Storage classes, each with the number of the bit that is its flag. */
const bitOfKind = Object.entries(storageClass).map(
  ([name, kind]) => [kind, Math.log2(valueFlag[name as keyof typeof valueFlag])] as const,
);
