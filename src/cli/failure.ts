import { CommanderError } from 'commander';
import { DqliteError, UsageError } from '../base/errors.ts';
import { ClientError, type ClientErrorCode } from '../client/errors.ts';
import { StartFailure } from '../server/start-failure.ts';

/** How a command ends. */
export const exitCode = { done: 0, failed: 1, misused: 2 } as const;

/** What to do next, by kind of failure; undefined where the message says it all. */
const nextSteps: { readonly [code in ClientErrorCode]?: string } = {
  noLeader: 'check --servers, and `dqlited status` on each of them',
  connection: 'check that the server runs and that --servers names it',
  timeout: 'try again, or allow more time with --timeout',
  leadershipLost: 'it may or may not have been executed: look before you repeat it',
  protocol: 'check that --servers names dqlite servers',
};

/** The line that an expected failure ends with, and its exit code; undefined for our own bugs. */
export function explain(error: unknown): { line: string | undefined; code: number } | undefined {
  if (error instanceof CommanderError) {
    // Commander has printed what there is to say.
    return { line: undefined, code: error.exitCode === 0 ? exitCode.done : exitCode.misused };
  }
  if (error instanceof UsageError) return { line: error.message, code: exitCode.misused };
  if (error instanceof ClientError) {
    const next = nextSteps[error.code];
    const line = next === undefined ? error.message : `${error.message}; ${next}`;
    return { line, code: error.code === 'misuse' ? exitCode.misused : exitCode.failed };
  }
  const isExpected = [DqliteError, Failure, StartFailure].some((kind) => error instanceof kind);
  if (!isExpected && !isSystemError(error)) return undefined;
  return { line: (error as Error).message, code: exitCode.failed };
}

/** A command that did what it could and failed, in one sentence with the next step. */
export class Failure extends Error {
  override readonly name = 'Failure';
}

/** ENOENT and the like: the operating system's own sentence names the file. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}
