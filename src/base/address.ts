/**
 * Where a server listens or is dialled, in the form that `net.connect` and `Server.listen` take. A path that
 * starts with a zero byte is a Linux abstract unix socket.
 */
export type Endpoint = { readonly host: string; readonly port: number } | { readonly path: string };

/** The port of an address that names none (client-side default of the protocol's own tools). */
export const DEFAULT_PORT = 8080;

/** Longest name of an abstract unix socket: sun_path holds 108 bytes, the first is the zero byte. */
const ABSTRACT_NAME_LIMIT_BYTES = 107;

/**
 * Reads `host:port`, `[v6]:port`, `host` or `@name` (abstract unix socket). Addresses name servers and are
 * compared as strings, byte for byte: this only says how to reach them. Undefined when it is none of these.
 */
export function parseAddress(address: string): Endpoint | undefined {
  if (address.startsWith('@')) {
    const name = address.slice(1);
    const fits = name !== '' && Buffer.byteLength(name) <= ABSTRACT_NAME_LIMIT_BYTES;
    return fits && !name.includes('\0') ? { path: `\0${name}` } : undefined;
  }
  const match = /^(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^\s:[\]/@]+))(?::(\d{1,5}))?$/.exec(address);
  if (match === null) return undefined;
  const host = match[1] ?? match[2] ?? '';
  const port = match[3] === undefined ? DEFAULT_PORT : Number(match[3]);
  return port >= 1 && port <= 65535 ? { host, port } : undefined;
}
