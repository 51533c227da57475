import { createServer, type Server, type Socket } from 'node:net';
import { parseAddress } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import type { Logger } from '../base/logger.ts';
import { StartFailure } from './start-failure.ts';

/** Probes on silent connections: a client whose host vanished is noticed after two minutes or so. */
const KEEP_ALIVE_DELAY_MS = 30_000;
/** At most one line about refused connections in this time. */
const WARNING_INTERVAL_MS = 10_000;
/** Clients that do not take their last answers in this time lose them. */
const CLOSE_TIMEOUT_MS = 1000;
/** The kernel's queue of connections that were not accepted yet; it caps this at net.core.somaxconn. */
const BACKLOG = 4096;

/** Where a listener is made. */
export interface ListenerParts {
  readonly address: string;
  readonly maxConnections: number;
  /** Gets a paused socket; returns the one that carries the connection from now on. */
  readonly onConnection: (accepted: Socket) => Socket;
  readonly logger: Logger;
}

/** Accepts the connections of clients and servers. */
export class Listener {
  readonly #parts: ListenerParts;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: ListenerParts) {
    this.#parts = parts;
    this.#server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      pauseOnConnect: true,
    });
    this.#server.on('connection', (socket) => this.#accepted(socket));
  }

  /** Connections that are open. */
  get connectionCount(): number {
    return this.#sockets.size;
  }

  /** @throws StartFailure when the address cannot be listened on */
  async open(): Promise<void> {
    const endpoint = parseAddress(this.#parts.address);
    assert(endpoint !== undefined, 'the configuration holds addresses that were checked');
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(listenFailure(this.#parts.address, error)));
      this.#server.listen({ ...endpoint, backlog: BACKLOG }, resolve);
    });
    this.#server.removeAllListeners('error');
    // Accepting fails when descriptors run out: those that wait are turned away, the others go on.
    this.#server.on('error', (error) => this.#warn('cannot accept a connection', { err: error }));
  }

  /** Accepts no more; the open connections stay. */
  stopAccepting(): void {
    this.#server.close();
  }

  /** Lets what was written leave, then closes what is still open; resolves when all are closed. */
  async closeConnections(): Promise<void> {
    for (const socket of this.#sockets) socket.end();
    const sockets = [...this.#sockets];
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, CLOSE_TIMEOUT_MS);
    await Promise.all(sockets.map((socket) => new Promise((done) => socket.once('close', done))));
    clearTimeout(timer);
  }

  #accepted(accepted: Socket): void {
    if (this.#sockets.size >= this.#parts.maxConnections) {
      accepted.destroy();
      this.#warn('too many connections: see --max-connections', {});
      return;
    }
    const socket = this.#parts.onConnection(accepted);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #warn(message: string, fields: Record<string, unknown>): void {
    const now = performance.now();
    if (now - this.#warnedAt < WARNING_INTERVAL_MS) return;
    this.#warnedAt = now;
    this.#parts.logger.warn({ ...fields, connections: this.connectionCount }, message);
  }
}

function listenFailure(address: string, error: NodeJS.ErrnoException): StartFailure {
  const why: { readonly [code: string]: string } = {
    EADDRINUSE: 'another process listens there: stop it, or choose another --listen or --address',
    EADDRNOTAVAIL: 'this host has no such address: choose another --listen',
    EACCES: 'that needs more rights: choose a port above 1023',
    ENOTFOUND: 'the name is not known here: check --listen and --address',
  };
  const reason = why[error.code ?? ''] ?? error.message;
  return new StartFailure(`cannot listen on ${address}: ${reason}`, { cause: error });
}
