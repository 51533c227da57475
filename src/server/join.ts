import type { Logger } from '../base/logger.ts';
import { Cluster } from '../client/cluster.ts';
import { ClientError } from '../client/errors.ts';
import type { Identity } from '../storage/app-files.ts';

const ATTEMPT_TIMEOUT_MS = 15_000;
/** Another server may be joining at the same moment. */
const PAUSE_MS = 250;

/**
 * Adds this server to a cluster as a spare; the leader gives it a role. Tries until it is a member or `signal` ends
 * it: the other servers may not be up yet.
 */
export async function joinCluster(
  self: Identity,
  servers: readonly string[],
  signal: AbortSignal,
  logger: Logger,
): Promise<void> {
  const cluster = new Cluster(servers);
  while (!signal.aborted) {
    try {
      const attempt = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT_MS)]);
      const { members } = await cluster.members(attempt);
      if (members.some(({ id }) => id === self.id)) return;
      await cluster.add(self.id, self.address, attempt);
      logger.info({ servers }, 'joined the cluster');
      return;
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      if (!signal.aborted) logger.warn({ err: error, servers }, 'cannot join yet, trying again');
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
