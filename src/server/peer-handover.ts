import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { readIntoSlabs } from './static-reads.ts';

/**
 * Hands open sockets from one thread to another by way of the kernel (SCM_RIGHTS over a unix socket, as Node
 * does between processes): each side then has a descriptor of its own, so neither can close the other's.
 * Two handles on one descriptor number would be simpler, but whoever closes second may close a file that
 * was opened in between.
 *
 * Rests on `process.binding('pipe_wrap')` and on `socket._handle`, which are no public interface (Node 20
 * to 24 have them). Everything that touches them is in this file; `DescriptorSender.works` says whether it
 * works, and where it does not, bytes are relayed instead (peer-relay.ts).
 */

/** Where the receiving thread connects, and how it proves that it is the one expected. */
export interface HandoverAddress {
  readonly name: string;
  readonly token: string;
}

/** How long a running receiver may take to show that it receives. */
const CONFIRM_TIMEOUT_MS = 5000;

/** Every message is a number of this many digits, with one descriptor. */
const NUMBER_LENGTH = 12;

/** The descriptor that only shows that the way is open. */
const PROBE = 0;

/** The sending end, on the thread that accepts connections. */
export class DescriptorSender {
  readonly address: HandoverAddress;
  #listening: Pipe | undefined;
  #accepted = false;
  #pipe: Pipe | undefined;
  /** undefined until it is known. */
  #works: boolean | undefined;
  #whenKnown: (works: boolean) => void = () => {};

  constructor() {
    this.address = {
      name: `\0dqlited-handover-${randomBytes(16).toString('hex')}`,
      token: randomBytes(16).toString('hex'),
    };
    try {
      this.#listen();
    } catch {
      this.#confirm(false);
    }
  }

  /** Resolves to whether descriptors arrive. Call it once the receiver runs. */
  works(): Promise<boolean> {
    if (this.#works !== undefined) return Promise.resolve(this.#works);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#confirm(false), CONFIRM_TIMEOUT_MS);
      this.#whenKnown = (works) => {
        clearTimeout(timer);
        resolve(works);
      };
    });
  }

  /** The receiver got the probe. */
  confirmed(): void {
    this.#listening?.close();
    this.#listening = undefined;
    this.#confirm(true);
  }

  /**
   * Sends the descriptor of `socket` under a number of the caller's choice, then destroys the socket here: the
   * connection lives on at the receiver. Returns what had been read from it and nobody consumed; undefined
   * when it cannot be sent: then the socket can be used here as before.
   */
  send(number: number, socket: Socket): Buffer | undefined {
    const handle = handleOf(socket);
    if (this.#pipe === undefined || handle === undefined) return undefined;
    const leftover = stopReading(socket, handle);
    if (this.#sendHandle(number, handle, () => socket.destroy())) return leftover;
    handle.reading = true;
    handle.readStart();
    if (leftover.length > 0) socket.unshift(leftover);
    return undefined;
  }

  /** Sends no more. */
  close(): void {
    this.#confirm(false);
    this.#pipe?.close();
    this.#listening?.close();
    this.#pipe = undefined;
    this.#listening = undefined;
  }

  #confirm(works: boolean): void {
    if (this.#works !== undefined) return;
    this.#works = works;
    this.#whenKnown(works);
  }

  #listen(): void {
    const { Pipe, constants } = pipeBinding();
    const listening = new Pipe(constants.SERVER);
    this.#listening = listening;
    listening.onconnection = (_status, accepted) => {
      if (accepted === undefined) return;
      if (this.#accepted) accepted.close();
      else this.#accept(accepted);
    };
    if (listening.bind(this.address.name) !== 0 || listening.listen(1) !== 0) this.#confirm(false);
    listening.unref();
  }

  /**
   * An accepted handle cannot send descriptors: a second one on the same descriptor can. The first stays open
   * and unused for the life of the process, so that the descriptor is closed once.
   */
  #accept(accepted: Pipe): void {
    this.#accepted = true;
    const { Pipe, constants } = pipeBinding();
    const pipe = new Pipe(constants.IPC);
    accepted.unref();
    pipe.unref();
    if (pipe.open(accepted.fd) !== 0) {
      this.#confirm(false);
      return;
    }
    pipe.onread = (bytes) => {
      const text = bytes === undefined ? '' : Buffer.from(bytes).toString();
      if (text !== this.address.token || this.#listening === undefined) return this.#confirm(false);
      this.#pipe = pipe;
      if (!this.#sendHandle(PROBE, this.#listening, () => {})) this.#confirm(false);
    };
    pipe.readStart();
  }

  #sendHandle(number: number, handle: Handle, sent: () => void): boolean {
    const request = new (writeBinding().WriteWrap)();
    request.oncomplete = sent;
    const text = String(number).padStart(NUMBER_LENGTH, '0');
    return this.#pipe?.writeUtf8String(request, text, handle) === 0;
  }
}

/** The receiving end, on the thread that is to own the connections. */
export class DescriptorReceiver {
  readonly #events: DescriptorEvents;
  #pipe: Pipe | undefined;

  constructor(address: HandoverAddress, events: DescriptorEvents) {
    this.#events = events;
    try {
      this.#connect(address);
    } catch {
      // The sender notices that no probe is confirmed.
      this.close();
    }
  }

  close(): void {
    this.#pipe?.close();
    this.#pipe = undefined;
  }

  #connect({ name, token }: HandoverAddress): void {
    const { Pipe, PipeConnectWrap, constants } = pipeBinding();
    const pipe = new Pipe(constants.IPC);
    this.#pipe = pipe;
    pipe.unref();
    const request = new PipeConnectWrap();
    request.oncomplete = (status) => {
      if (status !== 0) return this.close();
      pipe.writeUtf8String(new (writeBinding().WriteWrap)(), token);
      pipe.onread = (bytes) => this.#received(pipe, bytes);
      pipe.readStart();
    };
    pipe.connect(request, name);
  }

  /** The kernel never joins two messages that carry descriptors: each read is one message. */
  #received(pipe: Pipe, bytes: ArrayBuffer | undefined): void {
    const handle = pipe.pendingHandle ?? undefined;
    pipe.pendingHandle = undefined;
    if (bytes === undefined || handle === undefined) {
      this.close();
      return;
    }
    const number = Number(Buffer.from(bytes).toString());
    if (number !== PROBE) {
      this.#events.received(number, readIntoSlabs(handle));
      return;
    }
    handle.close();
    this.#events.probed();
  }
}

/** What a receiver reports. */
export interface DescriptorEvents {
  /** The way is open: tell the sender (`DescriptorSender.confirmed`). */
  probed(): void;
  /** A socket that this thread now owns; it is not reading yet, only bytes that were not read before it was sent come. */
  received(number: number, socket: Socket): void;
}

/** Stops reading and returns what was read and not consumed: the next bytes are for the receiver. */
function stopReading(socket: Socket, handle: Handle): Buffer {
  socket.pause();
  const chunks: Buffer[] = [];
  for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk);
  // Last: `read` starts to read again.
  handle.reading = false;
  handle.readStop();
  return Buffer.concat(chunks);
}

interface Handle {
  readonly fd: number;
  reading: boolean;
  readStart(): number;
  readStop(): number;
  close(): void;
  unref(): void;
}

interface Pipe extends Handle {
  pendingHandle: Handle | undefined;
  onread: (bytes: ArrayBuffer | undefined) => void;
  onconnection: (status: number, accepted: Pipe | undefined) => void;
  bind(name: string): number;
  listen(backlog: number): number;
  open(fd: number): number;
  connect(request: object, name: string): number;
  writeUtf8String(request: object, text: string, handle?: Handle): number;
}

interface PipeBinding {
  readonly Pipe: new (type: number) => Pipe;
  readonly PipeConnectWrap: new () => { oncomplete: (status: number) => void };
  readonly constants: { readonly SERVER: number; readonly IPC: number };
}

interface WriteBinding {
  readonly WriteWrap: new () => { oncomplete: () => void };
}

function handleOf(socket: Socket): Handle | undefined {
  const { _handle: handle } = socket as unknown as { readonly _handle: Handle | null | undefined };
  return handle ?? undefined;
}

function pipeBinding(): PipeBinding {
  return binding('pipe_wrap') as PipeBinding;
}

function writeBinding(): WriteBinding {
  return binding('stream_wrap') as WriteBinding;
}

function binding(name: string): unknown {
  return (process as unknown as { binding(name: string): unknown }).binding(name);
}
