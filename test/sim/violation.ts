/** A property does not hold. The message says which, where. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
