import t from 'tap';
import { type Recorded, recordedAddress, recording, substituted } from '../compat/recordings.ts';
import { selfAddress } from '../support/fake-consensus.ts';
import { decodeRows } from '../support/wire-rows.ts';
import { Client, decoded, Harness, show } from './harness.ts';

const files = ['01-handshake', '02-session', '03-types', '04-batches', '05-errors', '07-busy-tx'];

/**
 * Where the answer is meant to differ: failures of a query that fails while it steps carry their own code and text,
 * a busy writer is told that it is busy, and a statement that was compiled again shows its new columns at once.
 */
const intended: { readonly [name: string]: string } = {
  'error after first batch': 'failure 1 integer overflow',
  'error in first batch': 'failure 1 integer overflow',
  'query constraint failure (0 columns)': 'failure 2067 UNIQUE constraint failed: ch.u',
  'query constraint failure (1 column)': 'failure 2067 UNIQUE constraint failed: ch.u',
  "denied: VACUUM INTO 'x'": 'failure 23 authorization denied',
  'B QUERY_SQL write while A holds the lock': 'failure 5 database is locked',
  'first run after ALTER': 'rows 1 done',
  'query after DROP': 'failure 1 no such table: sc',
};

/** Judged by Raft, which is a fake here. */
const membership = /^(add|assign|promote|remove|transfer)\b/;

for (const file of files) {
  t.test(`${file}: answers are those of 1.18.6`, async (t) => {
    const events = recording('master-1.18.6', file).filter(({ name }) => !membership.test(name));
    const { compared, differences } = await replay(events);
    t.ok(compared > 0);
    for (const { name, recorded, answer } of differences) {
      t.equal(answer, intended[name], `${name}: ${recorded}`);
    }
  });
}

interface Difference {
  readonly name: string;
  readonly recorded: string;
  readonly answer: string;
}

async function replay(events: readonly Recorded[]) {
  const harness = new Harness({ limits: { busyTimeoutMs: 300 } });
  const recorded = recordedAddress(events) ?? '';
  const clients = new Map<string, Client>();
  const differences: Difference[] = [];
  let compared = 0;
  for (const { direction, connection, bytes, name, note } of events) {
    let client = clients.get(connection);
    if (client === undefined) {
      client = new Client(harness);
      clients.set(connection, client);
    }
    if (direction === 'c2s') {
      if (bytes.length > 0) client.send(bytes);
      else client.session.close();
      await harness.settle();
      continue;
    }
    if (bytes.length === 0) {
      if (note.startsWith('SERVER CLOSED') && !client.closed) {
        differences.push({ name, recorded: 'closed', answer: 'not closed' });
      }
      compared++;
      continue;
    }
    if (client.messages.length === 0) await harness.advance(400);
    const answer = client.messages.shift();
    const expected = recorded === '' ? bytes : readdressed(bytes, recorded);
    compared++;
    if (answer !== undefined && same(expected, answer)) continue;
    const shown = answer === undefined ? 'nothing' : show(decoded(answer));
    differences.push({ name, recorded: line(expected), answer: shown });
  }
  return { compared, differences };
}

function readdressed(bytes: Buffer, from: string): Buffer {
  return substituted(bytes, from, selfAddress.padEnd(from.length, '\0'));
}

function same(expected: Buffer, actual: Buffer): boolean {
  return masked(expected).equals(masked(actual));
}

function masked(message: Buffer): Buffer {
  const type = message.readUInt8(4);
  if (type === 9) return message.subarray(0, 40);
  if (type !== 7) return message;
  const copy = Buffer.from(message);
  const body = copy.subarray(8);
  for (const [from, to] of decodeRows(body).paddings) body.fill(0, from, to);
  return copy;
}

function line(message: Buffer): string {
  const text = message
    .subarray(8, 120)
    .toString('latin1')
    .replace(/[^ -~]+/g, '.');
  return `${message.readUInt8(4)} ${message.length} ${message.subarray(8, 16).toString('hex')} ${text}`;
}
