import { after, type Core, currentTerm, type Leader } from './core.ts';
import type { Progress } from './progress.ts';
import type { Index, Server, ServerId, SnapshotMeta } from './types.ts';

/**
 * Writing a snapshot costs in proportion to the databases: the next one waits until the log has grown by this share of
 * the last one, however many entries that takes, so that snapshots never cost more than four times the log.
 */
const logShareOfSnapshot = 1 / 4;

/**
 * Asks for a snapshot when enough was applied since the last one (Raft paper, section 7). Only of what our
 * own log holds durably: a snapshot beyond the end of the log could not be told from a damaged log.
 */
export function takeWhenDue(core: Core): void {
  const { appliedIndex, log, options, outbox, snapshots } = core;
  if (snapshots.taking || appliedIndex < snapshots.retryAt) return;
  const few = appliedIndex - log.snapshotIndex < options.snapshotThreshold;
  const wait = few || log.bytesBehindSnapshot < snapshots.sizeBytes * logShareOfSnapshot;
  if (wait && log.bytesBehindSnapshot < options.snapshotThresholdBytes) return;
  const term = log.termAt(appliedIndex);
  if (term === undefined || appliedIndex > log.durableIndex) return;
  const { index: configurationIndex, configuration } = log.configurationAt(appliedIndex);
  snapshots.taking = true;
  outbox.takeSnapshot({ index: appliedIndex, term, configuration, configurationIndex });
}

/** It is on disk: the log before it goes, but for what followers that are a little behind may need. */
export function onSnapshotTaken(core: Core, meta: SnapshotMeta | undefined, sizeBytes = 0): void {
  const { log, options, snapshots } = core;
  snapshots.taking = false;
  if (meta !== undefined) snapshots.sizeBytes = sizeBytes;
  if (meta === undefined) {
    const pause = Math.max(1, Math.ceil(options.snapshotThreshold / 4));
    snapshots.retryAt = (core.appliedIndex + pause) as Index;
  } else if (meta.index > log.snapshotIndex) {
    log.compact(meta, options.snapshotTrailing, options.snapshotTrailingBytes);
  }
}

/** A follower needs entries that are gone: it gets our newest snapshot, if it is there to receive it. */
export function shipSnapshot(core: Core, leader: Leader, server: Server, progress: Progress): void {
  const { log, options, outbox } = core;
  const meta = log.snapshot;
  const silentSince = after(progress.heardAt, options.electionTimeoutMs);
  if (meta === undefined || core.now >= silentSince || !progress.reachable) return;
  if (!outbox.shipSnapshot(server, currentTerm(core), meta)) return;
  progress.becomeSnapshot(meta.index, after(core.now, options.snapshotTimeoutMs));
  progress.sent(core.now, leader.rounds.current);
}

/** The snapshot left whole: its answer may take as long as the follower needs to store it. */
export function onSnapshotShipped(core: Core, to: ServerId, whole: boolean): void {
  const progress = core.state.kind === 'leader' ? core.state.progress.get(to) : undefined;
  if (progress?.state !== 'snapshot') return;
  if (whole) progress.snapshotDeadline = after(core.now, core.options.snapshotTimeoutMs);
  else progress.snapshotDeadline = core.now;
}

/** Gives up waiting for answers to snapshots: asks those followers where they are. */
export function expireSnapshots(core: Core, leader: Leader): void {
  for (const progress of leader.progress.values()) {
    if (progress.state === 'snapshot' && core.now >= progress.snapshotDeadline) {
      progress.becomeProbe();
    }
  }
}
