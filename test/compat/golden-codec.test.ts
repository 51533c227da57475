import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { WireError } from '../../src/base/errors.ts';
import { type Frame, Framer } from '../../src/protocol/framer.ts';
import { decodeParameters, encodeParameters } from '../../src/protocol/parameters.ts';
import { decodeRequest, type Request, requests } from '../../src/protocol/requests.ts';
import { olderResponses, responses } from '../../src/protocol/responses.ts';
import { padded, Writer } from '../../src/protocol/words.ts';
import { type Recorded, type RecordingSet, recording } from './recordings.ts';

const sets: readonly RecordingSet[] = ['master-1.18.6', 'debian-1.11.1'];
const topics = [
  '01-handshake',
  '02-session',
  '03-types',
  '04-batches',
  '05-errors',
  '06-framing',
  '07-busy-tx',
  '08-cluster',
  '09-write-quorum-loss',
  '10-assign-timeout',
  '11-crashes',
  '20-go-dqlite-v3',
  '21-shell-1.11.5',
  '22-go-dqlite-v3-redirect',
  '23-raft-connect',
];

/** Requests that are no requests: the stream ends there. */
const malformed = new Set([
  'handshake unknown 0',
  'handshake unknown 2',
  'body too short (PREPARE, 1 word)',
  'text without NUL',
  'OPEN truncated',
  'param header truncated',
  'open name of 505 bytes',
  'words=0',
  'words=0x20000000 (4 GiB)',
]);

/**
 * Messages that do not come out with the bytes they came in with. `extra`: words beyond the last field, which are
 * ignored (and the stale beginning of a FAILURE makes its true end look like such). `padding`: stale bytes where zeros
 * should be; the values are the same.
 */
const inexact = new Map<string, 'extra' | 'padding'>([
  ['02-session EXEC exec prepared, param omitted', 'extra'],
  ['06-framing LEADER extra trailing words are ignored', 'extra'],
  ['03-types ROWS values: blobs', 'padding'],
  ['03-types ROWS storage class decides, not decltype', 'padding'],
  ['20-go-dqlite-v3 EXEC_SQL EXEC_SQL', 'padding'],
  ['20-go-dqlite-v3 QUERY_SQL QUERY_SQL', 'padding'],
  ['20-go-dqlite-v3 EXEC EXEC', 'padding'],
  ['04-batches FAILURE error after first batch', 'extra'],
  ['04-batches FAILURE error in first batch', 'extra'],
  ['05-errors FAILURE query constraint failure (0 columns)', 'extra'],
  ['05-errors FAILURE query constraint failure (1 column)', 'extra'],
  ["05-errors FAILURE denied: VACUUM INTO 'x'", 'extra'],
  ['07-busy-tx FAILURE query after DROP', 'extra'],
  ['22-go-dqlite-v3-redirect FAILURE QUERY_SQL', 'extra'],
]);

const upperCased: { readonly [kind: string]: string } = {
  execSql: 'EXEC_SQL',
  querySql: 'QUERY_SQL',
};

/** How much there is to see, so that nothing is skipped in silence. */
const expected = {
  'master-1.18.6': { requests: 493, responses: 517, unrecognized: 21, malformed: 9 },
  'debian-1.11.1': { requests: 432, responses: 434, unrecognized: 3, malformed: 8 },
} as const;

interface Tally {
  requests: number;
  responses: number;
  unrecognized: number;
  malformed: number;
  inexact: Set<string>;
  wrong: string[];
}

for (const set of sets) {
  t.test(`what ${set} and its clients said survives decoding and encoding`, (t) => {
    const tally: Tally = {
      requests: 0,
      responses: 0,
      unrecognized: 0,
      malformed: 0,
      inexact: new Set(),
      wrong: [],
    };
    for (const topic of topics) replay(topic, recording(set, topic), tally);

    t.strictSame(tally.wrong, []);
    const { requests, responses, unrecognized, malformed } = tally;
    t.strictSame({ requests, responses, unrecognized, malformed }, expected[set]);
    const seen = [...inexact.keys()].filter((title) => tally.inexact.has(title));
    t.ok(seen.length >= 10, 'the list of inexact messages is not stale');
    t.end();
  });
}

/** One connection of a recording: what was said in both directions. */
interface Line {
  readonly client: Framer;
  readonly server: Framer;
  greeting: 'v1' | 'legacy' | undefined;
  clusterFormat: bigint;
  broken: boolean;
}

function replay(topic: string, recorded: readonly Recorded[], tally: Tally): void {
  const lines = new Map<string, Line>();
  for (const { name, direction, bytes, connection } of recorded) {
    const line = lines.get(connection) ?? newLine();
    lines.set(connection, line);
    if (line.broken) continue;
    try {
      if (direction === 'c2s') replayRequest(topic, name, bytes, line, tally);
      else replayResponse(topic, name, bytes, line, tally);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      if (!malformed.has(name)) tally.wrong.push(`${topic} ${name}: ${error.message}`);
      tally.malformed++;
      line.broken = true;
    }
  }
}

function newLine(): Line {
  const framers = { client: new Framer(), server: new Framer() };
  return { ...framers, greeting: undefined, clusterFormat: 1n, broken: false };
}

function replayRequest(topic: string, name: string, bytes: Buffer, line: Line, tally: Tally): void {
  line.client.push(bytes);
  line.greeting ??= line.client.handshake();
  for (let frame = line.client.next(); frame !== undefined; frame = line.client.next()) {
    const request = decodeRequest(frame);
    if (request.kind === 'unrecognized') {
      tally.unrecognized++;
      continue;
    }
    tally.requests++;
    if (request.kind === 'cluster') line.clusterFormat = request.format;
    const to = new Writer(1024);
    requests.write(to, request);
    const again = to.takeBytes();
    const title = upperCased[request.kind] ?? request.kind.toUpperCase();
    compare(`${topic} ${title} ${name}`, frame, again, withoutPadding(frame, request), tally);
    if (!sameParameters(request)) tally.wrong.push(`${topic} ${name}: parameters differ`);
  }
}

function replayResponse(
  topic: string,
  name: string,
  bytes: Buffer,
  line: Line,
  tally: Tally,
): void {
  line.server.push(bytes);
  for (let frame = line.server.next(); frame !== undefined; frame = line.server.next()) {
    tally.responses++;
    const { type, schema, body } = frame;
    const older =
      (type === 1 && line.greeting === 'legacy') || (type === 3 && line.clusterFormat === 0n);
    const codec = older ? olderResponses : responses;
    const response = codec.decode(type, schema, body);
    if (response === undefined) {
      tally.wrong.push(`${topic} ${name}: unknown response ${type}/${schema}`);
      continue;
    }
    const to = new Writer(1024);
    codec.write(to, response as never);
    const again = to.takeBytes();
    const same = isDeepStrictEqual(codec.decode(type, schema, again.subarray(8)), response);
    if (!same) tally.wrong.push(`${topic} ${name}: read differently the second time`);
    const masked = response.kind === 'rows' ? again.subarray(8) : body;
    compare(`${topic} ${response.kind.toUpperCase()} ${name}`, frame, again, masked, tally);
  }
}

/** `masked` is the body as it should have been; it counts only for messages known to have stale padding. */
function compare(
  title: string,
  frame: Frame,
  again: Buffer,
  masked: Uint8Array,
  tally: Tally,
): void {
  const body = again.subarray(8);
  const sameHeader = again[4] === frame.type && again[5] === frame.schema;
  if (sameHeader && body.equals(frame.body)) return;
  tally.inexact.add(title);
  const why = inexact.get(title);
  const excused =
    (why === 'extra' && body.equals(frame.body.subarray(0, body.length))) ||
    (why === 'padding' && body.length === frame.body.length && body.equals(masked));
  if (!sameHeader || !excused) tally.wrong.push(`${title}: ${frame.body.toString('hex')}`);
}

/** The body with zeros where the header of the parameters is padded. */
function withoutPadding(frame: Frame, request: Request): Buffer {
  if (!('parameters' in request)) return frame.body;
  const { types, values } = request.parameters;
  const used = (frame.schema === 0 ? 1 : 4) + types.length;
  const end = frame.body.length - values.length;
  return Buffer.from(frame.body).fill(0, end - (padded(used) - used), end);
}

function sameParameters(request: Request): boolean {
  if (!('parameters' in request) || request.parameters.types.some((code) => code > 11)) return true;
  try {
    const decoded = decodeParameters(request.parameters);
    const again = encodeParameters(decoded);
    return (
      isDeepStrictEqual(decodeParameters(again), decoded) &&
      Buffer.from(again.values).equals(request.parameters.values)
    );
  } catch (error) {
    // Recorded on purpose: types and payloads that a server has to refuse.
    return error instanceof WireError;
  }
}
