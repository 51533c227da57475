import { channel } from 'node:diagnostics_channel';

/** A named diagnostics channel with a typed payload. Publishing costs one boolean test while nobody listens. */
export interface TypedChannel<Payload> {
  readonly hasSubscribers: boolean;
  publish(payload: Payload): void;
  subscribe(listener: (payload: Payload) => void): void;
}

function typed<Payload>(name: string): TypedChannel<Payload> {
  const inner = channel(name);
  return {
    get hasSubscribers() {
      return inner.hasSubscribers;
    },
    publish: (payload) => inner.publish(payload),
    subscribe: (listener) => inner.subscribe((payload) => listener(payload as Payload)),
  };
}

/** Everything the daemon tells observers (metrics, slow log, tests). The core never logs. */
export const channels = {
  /** A client request was answered. */
  request: typed<{ kind: string; durationMs: number; failed: boolean }>('dqlited:request'),
  /** A transaction was captured from SQLite. */
  capture: typed<{ database: string; pages: number }>('dqlited:capture'),
  /** One durable write of the log; on the thread that writes it, since it comes too often to travel. */
  append: typed<{ entries: number; bytes: number; durationMs: number }>('dqlited:append'),
  /** A snapshot was written. */
  snapshot: typed<{ index: number; bytes: number; durationMs: number }>('dqlited:snapshot'),
} as const;
