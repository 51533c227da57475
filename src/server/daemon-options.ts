import { defaultSessionLimits, type SessionLimits } from '../gateway/limits.ts';
import { raftOptions } from '../raft/options.ts';
import type { Identity } from '../storage/app-files.ts';
import type { Config } from './config.ts';
import { peerLimits } from './peer-limits.ts';
import type { RaftHostOptions } from './raft-host.ts';

/** Bytes from other servers that may wait for the disk and for the databases. */
const BACKLOG_BYTES = 64 * 1024 ** 2;
/** Clients wait so long at most to hear who leads: some give up soon after. */
const LONGEST_LEADER_WAIT_MS = 5000;
/** What falling asleep and being woken takes at most, or so. */
const BUSY_POLL_MS = 0.1;

/** The election timeout is 15 times the latency, the heartbeat 1.5 times, as in C dqlite. */
export function electionTimeoutMs({ networkLatency }: Config): number {
  return 15 * networkLatency;
}

/** What Raft is told. */
export function raftHostOptions(
  config: Config,
  identity: Identity,
  directory: string,
): RaftHostOptions {
  const timeoutMs = electionTimeoutMs(config);
  const raft = raftOptions({
    id: identity.id,
    electionTimeoutMs: timeoutMs,
    heartbeatMs: 1.5 * config.networkLatency,
    snapshotThreshold: config.snapshotThreshold,
    snapshotThresholdBytes: config.maxLogSize,
    snapshotTrailing: config.snapshotTrailing,
    snapshotTrailingBytes: config.maxLogSize,
  });
  return {
    form: 'thread',
    node: {
      self: identity,
      raft,
      peers: peerLimits(timeoutMs),
      backlogBytes: BACKLOG_BYTES,
    },
    storage: {
      directory,
      disk: config.diskBackend,
      trailingEntries: config.snapshotTrailing,
      trailingBytes: config.maxLogSize,
      autoRecovery: config.autoRecovery,
    },
    logLevel: config.logLevel,
  };
}

/** What sessions are told. */
export function sessionLimits(config: Config): SessionLimits {
  return {
    ...defaultSessionLimits,
    maxMessageBytes: config.maxMessageSize,
    busyTimeoutMs: config.busyTimeout,
    idleTransactionTimeoutMs: config.idleTransactionTimeout,
    leaderWaitMs: Math.min(2 * electionTimeoutMs(config), LONGEST_LEADER_WAIT_MS),
    statementTimeoutMs: config.statementTimeout,
    slowStatementMs: config.slowStatement,
    maxStalledQueryMs: config.queryStallTimeout,
    maxStatementsPerSession: config.maxStatements,
    maxReturningBytes: config.maxReturningSize,
  };
}

/** Who waits on the only processor keeps it from the client that is waited for, unless that is told to. */
export function busyPollLimitMs(
  { busyPoll }: Pick<Config, 'busyPoll'>,
  processors: number,
): number {
  if (busyPoll !== undefined) return busyPoll / 1000;
  return processors > 1 ? BUSY_POLL_MS : 0;
}
