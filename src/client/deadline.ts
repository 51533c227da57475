import { ClientError } from './errors.ts';

/** How long a call may take, and who may end it before. */
export interface CallOptions {
  /** Milliseconds for the whole call, looking for the leader and retries included; Infinity: no limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One signal for both, or undefined when nothing limits the call. */
export function signalOf(options: CallOptions): AbortSignal | undefined {
  const { timeoutMs, signal } = options;
  if (timeoutMs === undefined || timeoutMs === Infinity) return signal;
  const timeout = AbortSignal.timeout(timeoutMs);
  return signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
}

/** The error of a call that its signal ended. */
export function errorOfSignal(signal: AbortSignal): ClientError {
  const isTimeout = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
  return isTimeout
    ? new ClientError('timeout', 'the deadline passed')
    : new ClientError('aborted', 'aborted by the caller', { cause: signal.reason });
}

/** Resolves like `work`; rejects as soon as the signal is aborted, leaving `work` to itself. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(errorOfSignal(signal));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Waits; rejects when the signal is aborted before. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await untilAborted(elapsed, signal).finally(() => clearTimeout(timer));
}
