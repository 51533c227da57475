/**
 * The command line of a program that is to run as a person would run it: the test runner asks every Node that a
 * test starts to load the runner's own modules, by way of NODE_OPTIONS.
 */
export function outside(command: string, args: readonly string[]): [string, string[]] {
  return ['/usr/bin/env', ['-u', 'NODE_OPTIONS', command, ...args]];
}
