import { WireError } from '../../base/errors.ts';
import type { RequestOf } from '../../protocol/requests.ts';
import type { Session } from '../session.ts';
import type { Steps } from '../task.ts';

/** Told to clients in WELCOME and enforced by nobody, as in C servers. */
const heartbeatTimeoutMs = 15_000;

/** Longest name of a database, in bytes (C servers: a path of 512 bytes with its directory and suffix). */
const maxNameBytes = 504;

export function client(session: Session, _request: RequestOf<'client'>): undefined {
  session.reply({ kind: 'welcome', heartbeatTimeoutMs });
}

/** Reached when nothing is under way: a query that is would have been ended by it. */
export function interrupt(session: Session, _request: RequestOf<'interrupt'>): undefined {
  session.reply({ kind: 'empty', unused: 0n });
}

export function connect(session: Session, { id, address }: RequestOf<'connect'>): undefined {
  session.becomePeer(id, address);
}

export function* open(session: Session, { filename }: RequestOf<'open'>): Steps {
  if (filename.length > maxNameBytes) throw new WireError('a database name of more than 504 bytes');
  if (!session.leading) yield* session.untilLeading();
  session.open(filename);
  session.reply({ kind: 'database', database: 0, unused: 0 });
}
