/** A broken assumption of our own: nothing catches it, the process stops and its supervisor restarts it. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** States what must hold here. Always on; never for input of clients, peers or disks. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a place that no value can reach: a new case of a union becomes a compile error. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
