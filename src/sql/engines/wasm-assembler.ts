// The binary format: https://webassembly.github.io/spec/core/binary/

/** Types of values, named as in WebAssembly's text format. */
export type WasmType = 'i32' | 'i64' | 'f64';

/** An instruction with its operands in front of it: its bytes, given what names mean where it stands. */
export type Code = (scope: Scope) => readonly number[];

interface Scope {
  readonly functions: ReadonlyMap<string, number>;
  readonly locals: ReadonlyMap<string, number>;
  /** Of the blocks around, the innermost first; an `if` has none. */
  readonly labels: readonly string[];
}

interface Signature {
  readonly parameters: Readonly<Record<string, WasmType>>;
  readonly result: WasmType;
}

/** A function as a module has it: exported under its name. Its body leaves the result. */
export interface WasmFunction extends Signature {
  readonly locals?: Readonly<Record<string, WasmType>>;
  readonly body: readonly Code[];
}

/** What a module consists of. Everything that is imported comes from the module `importedFrom`. */
export interface ModuleSource {
  readonly importsMemory?: boolean;
  readonly imports: Readonly<Record<string, Signature>>;
  readonly functions: Readonly<Record<string, WasmFunction>>;
}

/** The name of the module that imports come from, and of the memory among them. */
export const importedFrom = 'js';
export const importedMemory = 'memory';

const typeCode = { i32: 0x7f, i64: 0x7e, f64: 0x7c } as const;
const sectionId = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const kind = { function: 0x00, memory: 0x02 } as const;
const functionTag = 0x60;
const noResult = 0x40;
const end = 0x0b;

/** The bytes of a module, for `WebAssembly.Module`. */
export function assemble(source: ModuleSource): Uint8Array<ArrayBuffer> {
  const { imports, functions } = source;
  // Functions are numbered with the imported ones first; each has a type of the same number.
  const signatures = [...Object.values(imports), ...Object.values(functions)];
  const numbers = numbered([...Object.keys(imports), ...Object.keys(functions)]);
  const numberOf = (name: string): number[] => unsigned(numberIn(numbers, name));
  const importing = (name: string, ...what: number[]): number[] => [
    ...text(importedFrom),
    ...text(name),
    ...what,
  ];
  const defined = Object.keys(functions);
  // Zero pages at least, and no limit: any memory will do.
  const memory = source.importsMemory ? [importing(importedMemory, kind.memory, 0, 0)] : [];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(sectionId.type, signatures.map(functionType)),
    ...section(sectionId.import, [
      ...Object.keys(imports).map((name) => importing(name, kind.function, ...numberOf(name))),
      ...memory,
    ]),
    ...section(sectionId.function, defined.map(numberOf)),
    ...section(
      sectionId.export,
      defined.map((name) => [...text(name), kind.function, ...numberOf(name)]),
    ),
    ...section(
      sectionId.code,
      Object.values(functions).map((one) => bodyOf(one, numbers)),
    ),
  ]);
}

function functionType({ parameters, result }: Signature): number[] {
  const types = Object.values(parameters).map((type) => [typeCode[type]]);
  return [functionTag, ...vector(types), ...vector([[typeCode[result]]])];
}

function bodyOf(one: WasmFunction, functions: ReadonlyMap<string, number>): number[] {
  const { parameters, locals = {}, body } = one;
  const names = numbered([...Object.keys(parameters), ...Object.keys(locals)]);
  const scope = { functions, locals: names, labels: [] };
  const declared = Object.values(locals).map((type) => [1, typeCode[type]]);
  const code = [...vector(declared), ...body.flatMap((each) => each(scope)), end];
  return [...unsigned(code.length), ...code];
}

function numbered(names: readonly string[]): Map<string, number> {
  return new Map(names.map((name, i) => [name, i]));
}

function numberIn(names: ReadonlyMap<string, number>, name: string): number {
  const found = names.get(name);
  if (found === undefined) throw new Error(`nothing is named ${name}`);
  return found;
}

function section(id: number, items: readonly (readonly number[])[]): number[] {
  const content = vector(items);
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): number[] {
  return vector([...Buffer.from(value)].map((byte) => [byte]));
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

/** LEB128 whose last byte has the sign in its second highest bit. */
function signed(value: bigint): number[] {
  const low = Number(value & 0x7fn);
  const rest = value >> 7n;
  const whole = rest === (low < 0x40 ? 0n : -1n);
  return whole ? [low] : [low | 0x80, ...signed(rest)];
}

function withOperands(...opcode: number[]) {
  return (...operands: readonly Code[]): Code =>
    (scope) => [...operands.flatMap((operand) => operand(scope)), ...opcode];
}

type Unary = (operand: Code) => Code;
type Binary = (left: Code, right: Code) => Code;

function constant(opcode: number, bits: number) {
  return (value: number | bigint): Code => {
    const bytes = signed(BigInt.asIntN(bits, BigInt(value)));
    return () => [opcode, ...bytes];
  };
}

/** `offset` is added to the address. No alignment is promised. */
function load(opcode: number) {
  return (address: Code, offset = 0): Code => withOperands(opcode, 0, ...unsigned(offset))(address);
}

function store(opcode: number) {
  return (address: Code, value: Code, offset = 0): Code =>
    withOperands(opcode, 0, ...unsigned(offset))(address, value);
}

/** Instructions on 32-bit integers, named as in the text format; `S` and `U` read them as signed and unsigned. */
export const i32 = {
  const: constant(0x41, 32),
  load: load(0x28),
  load8U: load(0x2d),
  load16U: load(0x2f),
  store: store(0x36),
  eqz: withOperands(0x45) as Unary,
  ne: withOperands(0x47) as Binary,
  ltS: withOperands(0x48) as Binary,
  ltU: withOperands(0x49) as Binary,
  gtU: withOperands(0x4b) as Binary,
  ctz: withOperands(0x68) as Unary,
  popcnt: withOperands(0x69) as Unary,
  add: withOperands(0x6a) as Binary,
  sub: withOperands(0x6b) as Binary,
  and: withOperands(0x71) as Binary,
  or: withOperands(0x72) as Binary,
  shl: withOperands(0x74) as Binary,
  shrU: withOperands(0x76) as Binary,
} as const;

/** Instructions on 64-bit integers. Shifts take the number of bits modulo 64. */
export const i64 = {
  const: constant(0x42, 64),
  load: load(0x29),
  load8U: load(0x31),
  store: store(0x37),
  ne: withOperands(0x52) as Binary,
  sub: withOperands(0x7d) as Binary,
  and: withOperands(0x83) as Binary,
  or: withOperands(0x84) as Binary,
  xor: withOperands(0x85) as Binary,
  shl: withOperands(0x86) as Binary,
  extendI32U: withOperands(0xad) as Unary,
} as const;

export const f64 = { convertI64S: withOperands(0xb9) as Unary } as const;

/** The value of a parameter or local. */
export function get(name: string): Code {
  return ({ locals }) => [0x20, ...unsigned(numberIn(locals, name))];
}

export function set(name: string, value: Code): Code {
  return (scope) => [...value(scope), 0x21, ...unsigned(numberIn(scope.locals, name))];
}

export function call(name: string, ...parameters: readonly Code[]): Code {
  return (scope) => [
    ...parameters.flatMap((parameter) => parameter(scope)),
    0x10,
    ...unsigned(numberIn(scope.functions, name)),
  ];
}

/** Runs `body`. Branching to its label leaves it. */
export function block(label: string, ...body: readonly Code[]): Code {
  return nested(0x02, label, body);
}

/** Runs `body`, which is left at its end. Branching to its label begins it again. */
export function loop(label: string, ...body: readonly Code[]): Code {
  return nested(0x03, label, body);
}

export function branch(label: string): Code {
  return ({ labels }) => [0x0c, ...unsigned(depthOf(label, labels))];
}

export function branchIf(label: string, condition: Code): Code {
  return (scope) => [...condition(scope), 0x0d, ...unsigned(depthOf(label, scope.labels))];
}

/** Runs `body` if `condition` is not zero. */
export function when(condition: Code, body: readonly Code[]): Code {
  const run = nested(0x04, '', body);
  return (scope) => [...condition(scope), ...run(scope)];
}

export function drop(value: Code): Code {
  return withOperands(0x1a)(value);
}

/** Ends the function. */
export function returns(value: Code): Code {
  return withOperands(0x0f)(value);
}

function nested(opcode: number, label: string, body: readonly Code[]): Code {
  return (scope) => {
    const inner = { ...scope, labels: [label, ...scope.labels] };
    return [opcode, noResult, ...body.flatMap((code) => code(inner)), end];
  };
}

function depthOf(label: string, labels: readonly string[]): number {
  const depth = labels.indexOf(label);
  if (depth < 0) throw new Error(`no block around is named ${label}`);
  return depth;
}
