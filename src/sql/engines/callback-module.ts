import { assert } from '../../base/assert.ts';

/** A C type of a callback: `int64` arrives in JavaScript as a number, exact up to 2^53. */
export type CallbackType = 'int32' | 'int64';

/** One JavaScript function that C calls: its parameters, and `run`. It returns an `int`. */
export interface Callback {
  readonly parameters: readonly CallbackType[];
  readonly run: (...parameters: number[]) => number;
}

/**
 * Makes JavaScript functions callable through a function table, which takes nothing but WASM functions: builds
 * a module that imports each one and exports a function of the C type around it. The conversion of 64-bit
 * parameters happens inside, so that no call makes a BigInt.
 */
export function wrapCallbacks<Name extends string>(
  callbacks: Readonly<Record<Name, Callback>>,
): Record<Name, WebAssembly.ExportValue> {
  const names = Object.keys(callbacks) as Name[];
  const list = names.map((name) => callbacks[name]);
  const module = new WebAssembly.Module(moduleOf(list));
  const functions = Object.fromEntries(list.map(({ run }, i) => [String(i), run]));
  const { exports } = new WebAssembly.Instance(module, { js: functions });
  const wrapped = names.map((name, i) => {
    const made = exports[String(i)];
    assert(made !== undefined, 'every callback is exported');
    return [name, made] as const;
  });
  return Object.fromEntries(wrapped) as Record<Name, WebAssembly.ExportValue>;
}

// The binary format: https://webassembly.github.io/spec/core/binary/

const wasmType = { int32: 0x7f, int64: 0x7e, double: 0x7c } as const;
const sectionId = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const functionTag = 0x00;
const instruction = { localGet: 0x20, call: 0x10, doubleFromInt64: 0xb9, end: 0x0b } as const;

/** Types, imports and functions come in pairs: number 2i is what JavaScript sees, 2i + 1 what C sees. */
function moduleOf(callbacks: readonly Callback[]): Uint8Array<ArrayBuffer> {
  const types: number[][] = [];
  const imports: number[][] = [];
  const functions: number[][] = [];
  const exports: number[][] = [];
  const bodies: number[][] = [];
  for (const [i, { parameters }] of callbacks.entries()) {
    types.push(functionType(parameters, 'double'), functionType(parameters, 'int64'));
    imports.push([...text('js'), ...text(String(i)), functionTag, ...unsigned(2 * i)]);
    functions.push(unsigned(2 * i + 1));
    // Imported functions are numbered first.
    exports.push([...text(String(i)), functionTag, ...unsigned(callbacks.length + i)]);
    bodies.push(body(parameters, i));
  }
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(sectionId.type, types),
    ...section(sectionId.import, imports),
    ...section(sectionId.function, functions),
    ...section(sectionId.export, exports),
    ...section(sectionId.code, bodies),
  ]);
}

function functionType(parameters: readonly CallbackType[], wide: 'double' | 'int64'): number[] {
  const types = parameters.map((type) => wasmType[type === 'int64' ? wide : 'int32']);
  return [0x60, ...vector(types.map((type) => [type])), ...vector([[wasmType.int32]])];
}

function body(parameters: readonly CallbackType[], callee: number): number[] {
  const code: number[] = [];
  for (const [i, type] of parameters.entries()) {
    code.push(instruction.localGet, ...unsigned(i));
    if (type === 'int64') code.push(instruction.doubleFromInt64);
  }
  code.push(instruction.call, ...unsigned(callee), instruction.end);
  const withLocals = [0, ...code];
  return [...unsigned(withLocals.length), ...withLocals];
}

function section(id: number, items: readonly number[][]): number[] {
  const content = vector(items);
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly number[][]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): number[] {
  return vector([...Buffer.from(value)].map((byte) => [byte]));
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}
