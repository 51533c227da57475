/**
 * The parts of the WebAssembly interface that the engines use: TypeScript has it only among the browser's types.
 * https://webassembly.github.io/spec/js-api/
 */
declare namespace WebAssembly {
  // biome-ignore lint/suspicious/noExplicitAny: exports are whatever the module says; each use states its type.
  type ExportValue = any;
  type ImportValue = Memory | ((...parameters: never[]) => unknown);
  type Imports = Record<string, Record<string, ImportValue>>;

  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }

  class Instance {
    constructor(module: Module, imports: Imports);
    readonly exports: Record<string, ExportValue>;
  }

  class Memory {
    constructor(limits: { initial: number; maximum: number });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }

  class Table {
    readonly length: number;
    get(index: number): ExportValue;
    set(index: number, value: ExportValue): void;
    grow(count: number): number;
  }
}
