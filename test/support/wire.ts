import { connect, type Socket } from 'node:net';

/**
 * A client that builds every byte itself, so that tests do not share a mistake with `src/protocol`.
 * Layouts: docs/wire-protocol.md.
 */

/** What came next on a connection: a whole message, its end, or nothing in time. */
export type Received =
  | { readonly kind: 'message'; readonly bytes: Buffer }
  | { readonly kind: 'closed' }
  | { readonly kind: 'silent' };

/** The first word of a connection (protocol version 1). */
export const handshake = uint64(1);

const HEADER_SIZE = 8;
const MAXIMUM_WAITING_BYTES = 4 * 2 ** 30;

export function uint64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    bytes.writeUInt32LE(value >>> 0, 4 * i);
  });
  return bytes;
}

function paddedTo8(bytes: Buffer): Buffer {
  const rest = bytes.length % 8;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(8 - rest)]);
}

export function text(value: string): Buffer {
  return paddedTo8(Buffer.concat([Buffer.from(value), Buffer.from([0])]));
}

export function blob(value: Uint8Array): Buffer {
  return Buffer.concat([uint64(value.length), paddedTo8(Buffer.from(value))]);
}

/** A message: header and body. `words` overrides the true length, to send a lie. */
export function frame(type: number, body: Buffer, schema = 0, words = body.length / 8): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.writeUInt32LE(words >>> 0, 0);
  header.writeUInt8(type, 4);
  header.writeUInt8(schema, 5);
  return Buffer.concat([header, body]);
}

/** A parameter: bigint and integral number -> INTEGER, boolean -> BOOLEAN, Buffer -> BLOB. */
export type Parameter = null | boolean | number | bigint | string | Buffer;

const typeCodes = { integer: 1, float: 2, text: 3, blob: 4, null: 5, boolean: 11 } as const;

function encodeParameter(value: Parameter): [code: number, bytes: Buffer] {
  if (value === null) return [typeCodes.null, uint64(0)];
  if (typeof value === 'boolean') return [typeCodes.boolean, uint64(value ? 1 : 0)];
  if (typeof value === 'bigint') return [typeCodes.integer, uint64(value)];
  if (typeof value === 'string') return [typeCodes.text, text(value)];
  if (typeof value !== 'number') return [typeCodes.blob, blob(value)];
  if (Number.isSafeInteger(value)) return [typeCodes.integer, uint64(value)];
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return [typeCodes.float, bytes];
}

/** A parameter tuple: schema 0 counts in one byte, schema 1 in four. */
export function parameters(values: readonly Parameter[], schema = 0): Buffer {
  const encoded = values.map(encodeParameter);
  const count = schema === 0 ? Buffer.from([values.length]) : uint32(values.length);
  const codes = Buffer.from(encoded.map(([code]) => code));
  return Buffer.concat([
    paddedTo8(Buffer.concat([count, codes])),
    ...encoded.map(([, bytes]) => bytes),
  ]);
}

/** Every request, by name. Database ids are 0: a connection has one database. */
export const request = {
  leader: () => frame(0, uint64(0)),
  client: (id = 0) => frame(1, uint64(id)),
  open: (name: string) => frame(3, Buffer.concat([text(name), uint64(0), text('volatile')])),
  prepare: (sql: string, schema = 0) => frame(4, Buffer.concat([uint64(0), text(sql)]), schema),
  exec: (statement: number, values: readonly Parameter[] = []) =>
    frame(5, Buffer.concat([uint32(0, statement), parameters(values)])),
  query: (statement: number, values: readonly Parameter[] = []) =>
    frame(6, Buffer.concat([uint32(0, statement), parameters(values)])),
  finalize: (statement: number) => frame(7, uint32(0, statement)),
  execSql: (sql: string, values: readonly Parameter[] = []) =>
    frame(8, Buffer.concat([uint64(0), text(sql), parameters(values)])),
  querySql: (sql: string, values: readonly Parameter[] = []) =>
    frame(9, Buffer.concat([uint64(0), text(sql), parameters(values)])),
  interrupt: () => frame(10, uint64(0)),
  add: (id: number, address: string) => frame(12, Buffer.concat([uint64(id), text(address)])),
  assign: (id: number, role: number) => frame(13, Buffer.concat([uint64(id), uint64(role)])),
  remove: (id: number) => frame(14, uint64(id)),
  dump: (name: string) => frame(15, text(name)),
  cluster: (format = 1) => frame(16, uint64(format)),
  transfer: (id: number) => frame(17, uint64(id)),
  describe: (format = 0) => frame(18, uint64(format)),
  weight: (weight: number) => frame(19, uint64(weight)),
} as const;

/** A connection whose bytes the test decides; what arrives is split into messages. */
export class WireConnection {
  readonly socket: Socket;
  /** What has arrived and is not taken yet; joined only when a message is complete. */
  #chunks: Buffer[] = [];
  #waitingBytes = 0;
  #ended = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => {
      this.#chunks.push(bytes);
      this.#waitingBytes += bytes.length;
      if (this.#waitingBytes > MAXIMUM_WAITING_BYTES) socket.destroy();
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => this.#end());
    socket.on('end', () => this.#end());
  }

  /** Connects to 127.0.0.1 and sends nothing. */
  static connect(port: number): Promise<WireConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new WireConnection(socket));
      });
    });
  }

  send(bytes: Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** The next message, or how it came that there is none within `timeoutMs`. */
  async receive(timeoutMs = 10_000): Promise<Received> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const message = this.#take();
      if (message !== undefined) return { kind: 'message', bytes: message };
      if (this.#ended) return { kind: 'closed' };
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return { kind: 'silent' };
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Closes at once, whatever is under way. */
  destroy(): void {
    this.socket.destroy();
  }

  #take(): Buffer | undefined {
    const size = this.#messageSize();
    if (size === undefined || this.#waitingBytes < size) return undefined;
    const all = this.#joined();
    this.#waitingBytes -= size;
    this.#chunks = this.#waitingBytes === 0 ? [] : [all.subarray(size)];
    return all.subarray(0, size);
  }

  /** Size of the next message with its header, once the header is there. */
  #messageSize(): number | undefined {
    if (this.#waitingBytes < HEADER_SIZE) return undefined;
    const first = this.#chunks[0];
    const head = first !== undefined && first.length >= HEADER_SIZE ? first : this.#joined();
    return HEADER_SIZE + head.readUInt32LE(0) * 8;
  }

  #joined(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    if (all !== undefined) return all;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }
}
