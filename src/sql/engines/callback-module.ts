import { assert } from '../../base/assert.ts';
import {
  assemble,
  type Code,
  call,
  f64,
  get,
  importedFrom,
  type WasmType,
} from './wasm-assembler.ts';

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
  const functions = Object.fromEntries(list.map(({ run }, i) => [inside(i), run]));
  const { exports } = new WebAssembly.Instance(module, { [importedFrom]: functions });
  const wrapped = names.map((name, i) => {
    const made = exports[String(i)];
    assert(made !== undefined, 'every callback is exported');
    return [name, made] as const;
  });
  return Object.fromEntries(wrapped) as Record<Name, WebAssembly.ExportValue>;
}

/** The name under which the module imports a function of JavaScript. */
function inside(i: number): string {
  return `run ${i}`;
}

function moduleOf(callbacks: readonly Callback[]): Uint8Array<ArrayBuffer> {
  const imports = callbacks.map(({ parameters }, i) => {
    return [inside(i), { parameters: typed(parameters, 'f64'), result: 'i32' }] as const;
  });
  const functions = callbacks.map(({ parameters }, i) => {
    const body = [call(inside(i), ...parameters.map(converted))];
    return [String(i), { parameters: typed(parameters, 'i64'), result: 'i32', body }] as const;
  });
  return assemble({
    imports: Object.fromEntries(imports),
    functions: Object.fromEntries(functions),
  });
}

function typed(types: readonly CallbackType[], wide: WasmType): Record<string, WasmType> {
  return Object.fromEntries(types.map((type, i) => [`p${i}`, type === 'int64' ? wide : 'i32']));
}

function converted(type: CallbackType, i: number): Code {
  return type === 'int64' ? f64.convertI64S(get(`p${i}`)) : get(`p${i}`);
}
