import { pino } from 'pino';
import { DqliteError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Settings } from './options.ts';

/** The log of the daemon: stderr, pretty on a terminal (without colours if NO_COLOR is set), else JSON lines. */
export function createLogger(level: Settings['logLevel'], noColor: boolean): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: errorFields },
  };
  // Synchronous: the line that says why the process ends must be out before it does.
  if (!process.stderr.isTTY) return pino(options, pino.destination({ dest: 2, sync: true }));
  const target = {
    colorize: !noColor,
    ignore: 'pid,hostname',
    translateTime: 'HH:MM:ss.l',
    singleLine: true,
  };
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ...target, destination: 2 } },
  });
}

/** Stacks help with our own bugs only: an expected failure is its code and its text. */
function errorFields(error: unknown): unknown {
  if (error instanceof DqliteError) return { code: error.code, message: error.message };
  return error instanceof Error ? pino.stdSerializers.err(error) : error;
}
