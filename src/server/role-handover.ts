import type { ServerId } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { Cluster } from '../client/cluster.ts';
import { ClientError } from '../client/errors.ts';
import type { Server } from '../protocol/log.ts';
import type { MemberDescription } from './role-manager.ts';

/** What a stopping voter hands its vote over with. */
export interface RoleHandoverParts {
  readonly self: ServerId;
  readonly servers: readonly Server[];
  readonly describe: (address: string, signal: AbortSignal) => Promise<MemberDescription>;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

const DESCRIBE_TIMEOUT_MS = 1000;

/**
 * A voter that stops changes places with a standby that answers, so that the cluster survives as much as before
 * while it is away: the standby has the data and votes at once, and this server is a standby when it returns.
 * Without a standby, as in a cluster of three, nothing changes: a vote that nobody can take over is kept for the return.
 * Leadership is to be handed over first. Whatever fails is logged; the leader then finds out by itself.
 */
export async function handOverVote(parts: RoleHandoverParts): Promise<void> {
  const { logger, self, servers, signal } = parts;
  const own = servers.find(({ id }) => id === self);
  const standbys = servers.filter(({ role }) => role === 'standby');
  if (own?.role !== 'voter' || standbys.length === 0) return;
  const successor = await bestOf(standbys, parts);
  if (successor === undefined) return;
  const cluster = new Cluster(
    servers.filter(({ id }) => id !== self).map(({ address }) => address),
  );
  try {
    await cluster.assign(successor.id, 'voter', signal);
    await cluster.assign(self, 'standby', signal);
    const fields = { successor: successor.id, address: successor.address };
    logger.info(fields, 'a standby votes in place of this server');
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    // The leader may have seen the surplus voter before and demoted this server by itself.
    logger.info({ err: error }, 'the vote was not handed over by this server');
  }
}

async function bestOf(
  standbys: readonly Server[],
  { describe, signal }: RoleHandoverParts,
): Promise<Server | undefined> {
  const attempt = AbortSignal.any([signal, AbortSignal.timeout(DESCRIBE_TIMEOUT_MS)]);
  const answers = await Promise.all(
    standbys.map(async (server) => {
      const weight = await describe(server.address, attempt).then(
        (description) => description.weight,
        () => undefined,
      );
      return weight === undefined ? [] : [{ server, weight }];
    }),
  );
  return answers.flat().sort((a, b) => (a.weight < b.weight ? -1 : 1))[0]?.server;
}
