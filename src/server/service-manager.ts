import { execFile } from 'node:child_process';
import type { Logger } from '../base/logger.ts';

/** What systemd is told (sd_notify). Does nothing when no service manager started the process. */
export interface ServiceManager {
  ready(status: string): void;
  stopping(): void;
  close(): void;
}

/** The variables that systemd sets for a service of Type=notify. */
export interface NotifyVariables {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
}

/** A service manager that takes longer to listen is not waited for. */
const NOTIFY_TIMEOUT_MS = 5000;

/**
 * Tells systemd through its own `systemd-notify`, as Node has no datagram unix sockets: the unit needs
 * NotifyAccess=all. The watchdog is fed twice in its period, and only while `isAlive` says so: a
 * daemon that is stuck gets restarted.
 */
export function serviceManager(
  variables: NotifyVariables,
  isAlive: () => boolean,
  logger: Logger,
): ServiceManager {
  if (!variables.NOTIFY_SOCKET) return { ready() {}, stopping() {}, close() {} };
  let isMissing = false;
  const notify = (...assignments: string[]): void => {
    if (isMissing) return;
    const options = { timeout: NOTIFY_TIMEOUT_MS };
    const child = execFile('systemd-notify', assignments, options, (error) => {
      if (error === null) return;
      isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      logger.warn({ err: error }, 'cannot notify the service manager');
    });
    // A daemon that has stopped does not wait until it was heard.
    child.unref();
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe?.destroy();
  };
  const periodMs = Number(variables.WATCHDOG_USEC ?? 0) / 1000;
  let watchdog: NodeJS.Timeout | undefined;
  return {
    ready(status) {
      notify('--ready', `--status=${status}`);
      if (!(periodMs > 0)) return;
      watchdog = setInterval(() => isAlive() && notify('WATCHDOG=1'), periodMs / 2);
      watchdog.unref();
    },
    stopping: () => notify('STOPPING=1'),
    close: () => clearInterval(watchdog),
  };
}
