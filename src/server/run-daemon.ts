import type { Logger } from '../base/logger.ts';
import { stalledDisk } from '../storage/errors.ts';
import type { Config } from './config.ts';
import { Daemon } from './daemon.ts';
import { letHeapsGrow } from './heap-growth.ts';
import { createLogger } from './logging.ts';
import { type ServiceManager, serviceManager } from './service-manager.ts';
import { StartFailure } from './start-failure.ts';

/** What the process brings along. */
export interface RunOptions {
  readonly environment: { readonly [variable: string]: string | undefined };
  readonly version: string;
  /** Called once, when the daemon serves on `address`. */
  readonly onReady: (address: string) => void;
}

/** A stopping daemon that is told again ends at once; so does one whose disk failed. */
const FAILED = 1;
/** Raft must have answered within this many periods of the watchdog. */
const WATCHDOG_PERIODS = 2;

/**
 * Runs a daemon until SIGTERM or SIGINT. Whatever it does not expect ends the process with one line in the log and
 * exit code 1: a supervisor starts it again, and recovery sees what is really on the disk.
 *
 * @throws UsageError, StartFailure when it cannot start
 */
export async function runDaemon(config: Config, options: RunOptions): Promise<void> {
  letHeapsGrow();
  const logger = createLogger(config.logLevel, Boolean(options.environment.NO_COLOR));
  const fatal = (error: unknown): void => {
    logger.error({ err: error }, 'the server cannot go on and ends');
    // An orderly exit waits for the threads and the requests that wait for the disk.
    if (error instanceof Error && 'code' in error && error.code === stalledDisk) {
      process.kill(process.pid, 'SIGKILL');
    }
    process.exit(FAILED);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', fatal);
  const stopped = stopSignal();
  const { version } = options;
  logger.info({ version, processId: process.pid, dataDir: config.dataDir }, 'starting');
  const starting = Daemon.start({ config, logger, version, fatal }).catch(explainStart);
  // A daemon that waits for its cluster has to hear the signal too.
  const daemon = await Promise.race([starting, stopped]);
  if (daemon === undefined) {
    logger.info({}, 'stopped while starting');
    process.exit(0);
  }
  const manager = serviceManager(options.environment, raftIsAlive(daemon, options), logger);
  logger.info({ address: daemon.address }, 'ready');
  options.onReady(daemon.address);
  manager.ready(`serving on ${daemon.address}`);
  await stopped;
  await stop(daemon, manager, logger);
}

async function stop(daemon: Daemon, manager: ServiceManager, logger: Logger): Promise<void> {
  manager.stopping();
  logger.info({}, 'stopping');
  await daemon.stop();
  manager.close();
  logger.info({}, 'stopped');
}

/** Resolves at the first signal; the second ends the process. */
function stopSignal(): Promise<undefined> {
  return new Promise((resolve) => {
    let count = 0;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        count += 1;
        if (count > 1) process.exit(FAILED);
        resolve(undefined);
      });
    }
  });
}

/** The event loop is alive when this is called; Raft is when it has answered lately. */
function raftIsAlive(daemon: Daemon, { environment }: RunOptions): () => boolean {
  const periodMs = Number(environment.WATCHDOG_USEC ?? 0) / 1000;
  let answeredAt = performance.now();
  return () => {
    void daemon.status().then(
      () => {
        answeredAt = performance.now();
      },
      () => {},
    );
    return performance.now() - answeredAt < WATCHDOG_PERIODS * periodMs;
  };
}

/** Damage of the data directory and full disks are told like any other reason not to start. */
function explainStart(error: unknown): never {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const isExpected = code.startsWith('DQL_') || code.startsWith('E');
  throw isExpected ? new StartFailure((error as Error).message, { cause: error }) : error;
}
