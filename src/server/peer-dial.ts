import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { parseAddress } from '../base/address.ts';
import { requests } from '../protocol/requests.ts';
import { Writer } from '../protocol/words.ts';
import type { Sender } from '../raft/events.ts';

/** First word of every connection: protocol version 1. */
const PROTOCOL_VERSION = 1n;

/** Detects a peer that vanished while nothing was said: the kernel then probes, once a second, ten times. */
const KEEP_ALIVE_AFTER_MS = 3000;

/**
 * Starts to connect to a server address; the stream emits `connect`, then `close` at its end. Throws when the
 * address is none.
 */
export type Dial = (address: string) => Duplex;

/** Dials over TCP (host name, IPv4, IPv6) or to an abstract unix socket (`@name`). */
export const dialSocket: Dial = (address) => {
  const endpoint = parseAddress(address);
  if (endpoint === undefined) throw new Error(`not an address: ${address}`);
  if ('path' in endpoint) return connect(endpoint);
  return connect({
    ...endpoint,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
  });
};

/** What a server says first: the version, then CONNECT with its own id and address. */
export function introduction(self: Sender): Buffer {
  const writer = new Writer();
  const at = writer.take(8);
  writer.bytes.writeBigUInt64LE(PROTOCOL_VERSION, at);
  requests.write(writer, { kind: 'connect', id: self.id, address: self.address });
  return writer.takeBytes();
}
