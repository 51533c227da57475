import { describeResponse } from '../compat/describe.ts';
import { handshake, request, WireConnection } from '../support/wire.ts';

/** How long an answer may take before it counts as none. */
const ANSWER_MS = 10_000;

/** Sends `first`, then each of `messages`, waiting for the answer to each; says what the last response was. */
export async function lastAnswer(
  port: number,
  first: Buffer,
  ...messages: readonly Buffer[]
): Promise<string> {
  const wire = await WireConnection.connect(port);
  try {
    wire.send(first);
    let answer = messages.length === 0 ? await answerOf(wire) : '';
    for (const message of messages) {
      wire.send(message);
      answer = await answerOf(wire);
      if (answer === 'connection closed') break;
    }
    return answer;
  } finally {
    wire.destroy();
  }
}

/** The last response to a request: rows may come in several. */
async function answerOf(wire: WireConnection): Promise<string> {
  for (;;) {
    const response = describeResponse(await wire.receive(ANSWER_MS));
    if (!response.startsWith('ROWS') || !response.endsWith('part')) return response;
  }
}

/** The same after the handshake and OPEN of `database`. */
export function lastAnswerIn(
  port: number,
  database: string,
  ...messages: readonly Buffer[]
): Promise<string> {
  return lastAnswer(port, handshake, request.open(database), ...messages);
}

/** Throws unless a new connection is served: opens a database, writes a row and reads it. */
export async function stillServes(port: number): Promise<void> {
  const insert = request.execSql('INSERT INTO alive VALUES (1)');
  const create = request.execSql('CREATE TABLE IF NOT EXISTS alive (n)');
  const written = await lastAnswerIn(port, 'alive', create, insert);
  if (!written.startsWith('RESULT')) throw new Error(`the next write was answered: ${written}`);
  const read = await lastAnswerIn(port, 'alive', request.querySql('SELECT max(n) FROM alive'));
  if (read !== 'ROWS ["max(n)"] (1:1) done') {
    throw new Error(`the next query was answered: ${read}`);
  }
}
