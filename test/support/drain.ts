/** Feeds `bytes` in pieces of `size`, and returns what came out of `next`. */
export function drain<T>(
  framer: { push(chunk: Buffer): void; next(): T | undefined },
  bytes: Buffer,
  size: number,
): T[] {
  const found: T[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    framer.push(bytes.subarray(at, at + size));
    for (let item = framer.next(); item !== undefined; item = framer.next()) found.push(item);
  }
  return found;
}
