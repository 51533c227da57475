/** The daemon cannot start or go on: one sentence with the next step. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}
