import type { Socket } from 'node:net';
import { nameOfText, textOfName } from '../protocol/kinds.ts';
import { requests } from '../protocol/requests.ts';
import { decodeResponse } from '../protocol/responses.ts';
import { Writer, wordBytes } from '../protocol/words.ts';
import { connectionError, dial, handshakeWord } from './connection.ts';
import { errorOfSignal } from './deadline.ts';
import { ClientError } from './errors.ts';

const FAILURE = 0;
const FILES = 9;
/** A FAILURE longer than this is none. */
const MAX_FAILURE_BYTES = 64 * 1024;
/** File names are database names: at most 504 bytes, and `-wal`. */
const MAX_NAME_BYTES = 1024;

/** A file of a dump: its name and its bytes, in pieces as they arrive. */
export interface DumpedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Buffer>;
}

/**
 * The files of a database as the server at `address` has them: the image, and a write-ahead log which is
 * empty on recent servers. Nothing is held in memory whole. Read each file's chunks before the next file.
 */
export async function* dumpFiles(
  address: string,
  database: string,
  signal?: AbortSignal,
): AsyncGenerator<DumpedFile> {
  const socket = await dial(address, signal);
  const abort = (): void => {
    socket.destroy(signal === undefined ? undefined : errorOfSignal(signal));
  };
  signal?.addEventListener('abort', abort);
  try {
    const writer = new Writer();
    requests.write(writer, { kind: 'dump', filename: nameOfText(database) });
    socket.write(Buffer.concat([handshakeWord, writer.takeBytes()]));
    const input = new Input(socket, address);
    await input.header();
    const count = await input.word();
    for (let i = 0; i < count; i++) {
      const name = textOfName((await input.text()).toString('latin1'));
      const sizeBytes = await input.word();
      yield { name, sizeBytes, chunks: input.chunks(sizeBytes) };
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    socket.destroy();
  }
}

/** Takes exact numbers of bytes from a socket. */
class Input {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #address: string;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, address: string) {
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#address = address;
  }

  /** Reads up to the body of FILES; throws what a FAILURE reports. */
  async header(): Promise<void> {
    const header = await this.#take(wordBytes);
    const bodyBytes = header.readUInt32LE(0) * wordBytes;
    const [type = 0, schema = 0] = [header[4], header[5]];
    if (type === FILES) return;
    if (type === FAILURE && bodyBytes <= MAX_FAILURE_BYTES) {
      const failure = decodeResponse({ type, schema, body: await this.#take(bodyBytes) });
      if (failure?.kind === 'failure') throw ClientError.ofFailure(failure.code, failure.message);
    }
    throw this.#unexpected();
  }

  async word(): Promise<number> {
    return Number((await this.#take(wordBytes)).readBigUInt64LE(0));
  }

  /** The bytes before the closing zero. */
  async text(): Promise<Buffer> {
    let text = Buffer.alloc(0);
    while (!text.includes(0)) {
      if (text.length > MAX_NAME_BYTES) throw this.#unexpected();
      text = Buffer.concat([text, await this.#take(wordBytes)]);
    }
    return text.subarray(0, text.indexOf(0));
  }

  async *chunks(sizeBytes: number): AsyncGenerator<Buffer> {
    let left = sizeBytes;
    while (left > 0) {
      if (this.#rest.length === 0) this.#rest = await this.#more();
      const chunk = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }

  async #take(size: number): Promise<Buffer> {
    while (this.#rest.length < size) {
      this.#rest = Buffer.concat([this.#rest, await this.#more()]);
    }
    const taken = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(size);
    return taken;
  }

  async #more(): Promise<Buffer> {
    try {
      const { value, done } = await this.#chunks.next();
      if (done !== true) return value;
    } catch (error) {
      // A deadline that passed destroys the socket with its own error.
      throw error instanceof ClientError ? error : connectionError(this.#address, error as Error);
    }
    throw new ClientError('connection', `${this.#address} closed the connection`);
  }

  #unexpected(): ClientError {
    return new ClientError('protocol', `${this.#address} sent something else than a dump`);
  }
}
