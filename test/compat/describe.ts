import type { Received } from '../support/wire.ts';
import { decodeRows, type WireValue } from '../support/wire-rows.ts';

const responseNames = [
  'FAILURE',
  'SERVER',
  'WELCOME',
  'SERVERS',
  'DB',
  'STMT',
  'RESULT',
  'ROWS',
  'EMPTY',
  'FILES',
  'METADATA',
] as const;

/** One line that says all that a response says: what the table of intended differences is written in. */
export function describeResponse(received: Received): string {
  if (received.kind === 'closed') return 'connection closed';
  if (received.kind === 'silent') return 'no response';
  const [type, schema] = [received.bytes.readUInt8(4), received.bytes.readUInt8(5)];
  const name = responseNames[type] ?? `TYPE${type}`;
  return `${name}${schema === 0 ? '' : `/${schema}`} ${describeBody(name, received.bytes.subarray(8))}`;
}

function describeBody(name: string, body: Buffer): string {
  if (name === 'FAILURE') return describeFailure(body);
  if (name === 'ROWS') return describeRows(body);
  if (name === 'FILES') return describeFiles(body).join(', ');
  const words: string[] = [];
  for (let at = 0; at + 8 <= body.length; at += 8) words.push(String(body.readBigInt64LE(at)));
  return words.join(' ');
}

function describeFailure(body: Buffer): string {
  return `${body.readBigUInt64LE(0)} ${JSON.stringify(textAt(body, 8))}`;
}

function describeRows(body: Buffer): string {
  const { names, rows, marker } = decodeRows(body);
  const shown = rows.slice(0, 4).map((row) => `(${row.map(describeValue).join(', ')})`);
  const more = rows.length > shown.length ? ` ... ${rows.length} rows` : '';
  return `${JSON.stringify(names)} ${shown.join(' ')}${more} ${marker}`;
}

function describeValue({ code, value }: WireValue): string {
  const shown = Buffer.isBuffer(value) ? `x'${value.toString('hex')}'` : String(value);
  return `${code}:${shown.length > 40 ? `${shown.slice(0, 40)}...` : shown}`;
}

function describeFiles(body: Buffer): string[] {
  return filesOf(body).map(({ name, bytes }) => `${name} ${bytes.length} bytes`);
}

/** The files in a FILES body. */
export function filesOf(body: Buffer): { name: string; bytes: Buffer }[] {
  const files: { name: string; bytes: Buffer }[] = [];
  let at = 8;
  for (let left = Number(body.readBigUInt64LE(0)); left > 0; left--) {
    const name = textAt(body, at);
    at += Math.ceil((Buffer.byteLength(name) + 1) / 8) * 8;
    const size = Number(body.readBigUInt64LE(at));
    files.push({ name, bytes: body.subarray(at + 8, at + 8 + size) });
    at += 8 + size;
  }
  return files;
}

function textAt(body: Buffer, at: number): string {
  return body.toString('utf8', at, body.indexOf(0, at));
}
