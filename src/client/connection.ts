import { connect, type Socket } from 'node:net';
import { parseAddress } from '../base/address.ts';
import { WireError } from '../base/errors.ts';
import { Framer } from '../protocol/framer.ts';
import { type Request, requests } from '../protocol/requests.ts';
import { decodeResponse, type Response, type ResponseOf } from '../protocol/responses.ts';
import { Writer } from '../protocol/words.ts';
import { errorOfSignal, untilAborted } from './deadline.ts';
import { ClientError } from './errors.ts';

/** The word that opens a connection: version 1 of the protocol (docs/wire-protocol.md, "Handshake"). */
export const handshakeWord: Buffer = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

/** Longest response taken whole: SQLite's own limit for one value is 1 000 000 000 bytes. */
const MAX_RESPONSE_BYTES = 1024 ** 3 + 4096;
/** More than this waits in the kernel until somebody reads. */
const READ_AHEAD_BYTES = 256 * 1024;

/**
 * One connection to one server: requests go out at once, responses are taken in order. It does not know what
 * they mean; see Session. After an error it is closed.
 */
export class Connection {
  readonly address: string;
  readonly #socket: Socket;
  readonly #framer = new Framer(MAX_RESPONSE_BYTES);
  readonly #writer = new Writer();
  #failure: ClientError | undefined;
  #wake: (() => void) | undefined;

  /** Dials and says hello, which the server does not answer. */
  static async open(address: string, signal?: AbortSignal): Promise<Connection> {
    return new Connection(address, await dial(address, signal));
  }

  private constructor(address: string, socket: Socket) {
    this.address = address;
    this.#socket = socket;
    socket.on('data', (bytes) => this.#received(bytes));
    socket.on('error', (error) => this.#fail(connectionError(address, error)));
    socket.on('close', () => {
      this.#fail(new ClientError('connection', `${address} closed the connection`));
    });
    socket.write(handshakeWord);
  }

  get closed(): boolean {
    return this.#failure !== undefined;
  }

  send(request: Request): void {
    if (this.#failure !== undefined) throw this.#failure;
    requests.write(this.#writer, request);
    this.#socket.write(this.#writer.takeBytes());
  }

  /** The next response, FAILURE among them. Only one call may wait at a time. */
  async receive(signal?: AbortSignal): Promise<Response> {
    for (;;) {
      const response = this.#next();
      if (response !== undefined) return response;
      if (this.#failure !== undefined) throw this.#failure;
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#socket.resume();
      await untilAborted(more, signal);
    }
  }

  /** One request and its only response. Anything but `kind` and FAILURE ends the connection. */
  async ask<K extends Response['kind']>(
    request: Request,
    kind: K,
    signal?: AbortSignal,
  ): Promise<ResponseOf<K>> {
    this.send(request);
    return this.expect(await this.receive(signal), kind);
  }

  /** Narrows a response; throws what a FAILURE reports. */
  expect<K extends Response['kind']>(response: Response, kind: K): ResponseOf<K> {
    if (response.kind === kind) return response as ResponseOf<K>;
    if (response.kind === 'failure') throw ClientError.ofFailure(response.code, response.message);
    throw this.#unexpected(`a response of kind ${response.kind} instead of ${kind}`);
  }

  close(): void {
    this.#fail(new ClientError('misuse', 'the connection was closed'));
  }

  #received(bytes: Buffer): void {
    this.#framer.push(bytes);
    if (this.#framer.bufferedBytes > READ_AHEAD_BYTES) this.#socket.pause();
    this.#wakeUp();
  }

  #next(): Response | undefined {
    try {
      const frame = this.#framer.next();
      if (frame === undefined) return undefined;
      const response = decodeResponse(frame);
      if (response === undefined) throw new WireError(`unknown response type ${frame.type}`);
      return response;
    } catch (error) {
      if (error instanceof WireError) throw this.#unexpected(error.message);
      throw error;
    }
  }

  #unexpected(what: string): ClientError {
    const error = new ClientError('protocol', `${this.address} sent ${what}`);
    this.#fail(error);
    return error;
  }

  #fail(error: ClientError): void {
    this.#failure ??= error;
    this.#socket.destroy();
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/** A connected socket without delays. A refusal is retryable: nothing was sent. */
export function dial(address: string, signal?: AbortSignal): Promise<Socket> {
  const endpoint = parseAddress(address);
  if (endpoint === undefined) {
    return Promise.reject(
      new ClientError('misuse', `"${address}" is no address: write HOST:PORT or @NAME`),
    );
  }
  return new Promise((resolve, reject) => {
    const socket = connect({ ...endpoint, noDelay: true, keepAlive: true });
    const settle = (): void => {
      signal?.removeEventListener('abort', abort);
      socket.off('error', fail).off('connect', succeed);
    };
    const succeed = (): void => {
      settle();
      resolve(socket);
    };
    const fail = (error: Error): void => {
      settle();
      socket.on('error', () => {}).destroy();
      reject(error instanceof ClientError ? error : connectionError(address, error));
    };
    const abort = (): void => {
      if (signal !== undefined) fail(errorOfSignal(signal));
    };
    socket.on('error', fail).on('connect', succeed);
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
  });
}

/** What became of a connection to `address`; retryable when it never was. */
export function connectionError(address: string, error: NodeJS.ErrnoException): ClientError {
  const refused = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
  const message = refused
    ? `nothing listens on ${address}`
    : `connection to ${address}: ${error.message}`;
  return new ClientError('connection', message, { retryable: refused, cause: error });
}
