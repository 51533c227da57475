import { basename } from 'node:path';
import { channels } from '../base/channels.ts';
import type { Clock } from '../base/clock.ts';
import type { Index } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Persist } from '../raft/events.ts';
import type { Loaded, RaftStore } from '../raft/ports.ts';
import type { Entry, Snapshot, SnapshotData, SnapshotMeta } from '../raft/types.ts';
import type { Disk } from './disk.ts';
import { DiskFullError, StorageError } from './errors.ts';
import type { Finding } from './findings.ts';
import { type Metadata, noMetadata, storeMetadata, syncMetadata } from './metadata.ts';
import { carryOut } from './repair.ts';
import { entryBytes } from './segment.ts';
import { batchBytesLimit } from './segment-writer.ts';
import { Segments } from './segments.ts';
import { SnapshotFiles, StoredSnapshot } from './snapshot-files.ts';
import { Space } from './space.ts';
import { StallWatch } from './stall-watch.ts';
import { type Survey, survey } from './survey.ts';

export interface DiskRaftStoreOptions {
  readonly disk: Disk;
  /** An existing directory that no other process uses. */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Entries kept before a snapshot, on disk and when loading. */
  readonly trailingEntries: number;
  /** Most bytes of segments that only hold such entries; unlimited by default. */
  readonly trailingBytes?: number;
  /** Moves damaged segments aside, which may lose acknowledged writes, where the start would be refused. */
  readonly autoRecovery: boolean;
  /** Length of an open segment, a multiple of 4096. */
  readonly segmentBytes?: number;
  /** How many zeroed segments are kept ready. */
  readonly spareSegments?: number;
}

/** As C dqlite has them: 8 MiB, two spares. */
const defaults = { segmentBytes: 8 * 1024 * 1024, spareSegments: 2 };

/** Something that waits for the disk: a write, or a step that must come between writes. */
type Waiting = {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
} & ({ readonly write: Persist } | { readonly step: () => Promise<void> });

/**
 * The log, the vote and the snapshots in a data directory of C dqlite's format. One durable write is under way
 * at a time; what arrives meanwhile leaves together in the next (group commit). The first failure of the disk
 * is final: everything after it is refused with the same error. A full device is no failure: writes wait for space.
 */
export class DiskRaftStore implements RaftStore {
  readonly space: Space;
  readonly #options: DiskRaftStoreOptions;
  readonly #watch: StallWatch;
  readonly #queue: Waiting[] = [];
  /** What is being carried out. */
  #group: readonly Waiting[] = [];
  #busy = false;
  #closed = false;
  #failure: unknown;
  #metadata: Metadata = noMetadata;
  #segments: Segments | undefined;
  #snapshots: SnapshotFiles | undefined;
  /** Snapshots are put in place one after the other. */
  #publishing: Promise<void> = Promise.resolve();

  constructor(options: DiskRaftStoreOptions) {
    this.#options = options;
    this.space = new Space(options.clock, options.logger);
    const nudge = (): void => options.disk.nudge?.();
    this.#watch = new StallWatch(options.clock, nudge, (error) => this.#fail(error));
  }

  /**
   * Reads the directory and repairs what a crash may have left. Entries before the snapshot are included as far
   * as `trailingEntries` reaches. Once, before anything else.
   *
   * @throws StorageError when the directory is damaged (docs/storage-format.md, "Recovery").
   */
  async load(): Promise<Loaded> {
    await this.#makeVisibleDurable();
    const found = await this.#surveyRecovering();
    for (const finding of found.findings) this.#report(finding);
    const { disk, directory, clock } = this.#options;
    await carryOut(disk, directory, found.repairs, nanosecondsOf(clock));
    this.#metadata = found.metadata ?? noMetadata;
    const damaged = new Set(found.snapshots.filter((one) => one.damage).map(({ id }) => id));
    this.#snapshots = new SnapshotFiles(
      disk,
      directory,
      found.snapshots.map(({ id }) => id).filter((id) => !damaged.has(id)),
    );
    this.#segments = new Segments({
      ...defaults,
      ...this.#options,
      space: this.space,
      watch: this.#watch,
      failed: (error) => {
        this.#failure ??= error;
      },
      closed: found.log.closed,
      next: found.log.next,
    });
    return { vote: this.#metadata.vote, snapshot: found.snapshot, entries: found.log.entries };
  }

  persist(write: Persist): Promise<void> {
    return new Promise((resolve, reject) => this.#enqueue({ write, resolve, reject }));
  }

  /** Rejects without harm when the snapshot cannot be read or there is no room for it. */
  async writeSnapshot({ meta, data }: Snapshot): Promise<void> {
    const startedAt = this.#options.clock.now();
    const stored = await this.#store(data.chunks());
    // Open segments do not say where they start: none may be left that holds an entry of the snapshot.
    await this.#between(async () => this.#log.finishCurrent());
    try {
      // Closing waits for what is being put in place, not for what is still to come.
      if (this.#closed) throw new Error('the store is closed');
      await this.#orFail(this.#publish(meta, stored));
    } catch (error) {
      stored.release();
      throw error;
    }
    channels.snapshot.publish({
      index: meta.index,
      bytes: stored.sizeBytes,
      durationMs: this.#options.clock.now() - startedAt,
    });
  }

  openSnapshot(meta: SnapshotMeta): Promise<SnapshotData> {
    return this.#files.open(meta);
  }

  async receiveSnapshot(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<Snapshot> {
    return { meta, data: await this.#store(chunks) };
  }

  /**
   * Waits for the writes under way; afterwards no open segment is left. Snapshots that are still being written
   * are given up at their next chunk, and what waits for space is refused: then segments are left open.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.space.giveUp();
    try {
      await this.#between(() => this.#log.close());
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
    }
    await this.#publishing;
    this.#watch.close();
    this.#failure ??= new Error('the store is closed');
  }

  get #log(): Segments {
    if (this.#segments === undefined) throw new Error('the store is not loaded');
    return this.#segments;
  }

  get #files(): SnapshotFiles {
    if (this.#snapshots === undefined) throw new Error('the store is not loaded');
    return this.#snapshots;
  }

  /**
   * A process that was killed may have left what can be read and would still be lost with the power: a vote that is
   * answered for, a snapshot in place of the log.
   */
  async #makeVisibleDurable(): Promise<void> {
    const { disk, directory } = this.#options;
    await disk.syncDirectory(directory);
    await syncMetadata(disk, directory, await disk.list(directory));
  }

  /** Surveys; with autoRecovery applies the remedies of errors that have one and surveys once more. */
  async #surveyRecovering(): Promise<Survey> {
    const { disk, directory, trailingEntries, autoRecovery, clock } = this.#options;
    const options = { disk, directory, trailingEntries, allSnapshots: false };
    let found = await survey(options);
    const remedy = found.findings.find(({ severity }) => severity === 'error')?.remedy;
    if (autoRecovery && remedy !== undefined) {
      for (const finding of found.findings) this.#report(finding);
      await carryOut(disk, directory, remedy, nanosecondsOf(clock));
      found = await survey(options);
    }
    const error = found.findings.find(({ severity }) => severity === 'error');
    if (error) throw new StorageError(error.path, error.offset, error.what, error.nextStep);
    return found;
  }

  #report({ severity, path, offset, what, nextStep }: Finding): void {
    const fields = { file: basename(path), offset, what, nextStep };
    if (severity === 'note') this.#options.logger.info(fields, 'data directory tidied');
    else this.#options.logger.warn(fields, 'data directory repaired');
  }

  #enqueue(waiting: Waiting): void {
    if (this.#failure !== undefined) {
      waiting.reject(this.#failure);
      return;
    }
    this.#queue.push(waiting);
    if (!this.#busy) void this.#drain();
  }

  /** Runs `step` after the writes handed in so far and before those that follow. */
  #between(step: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => this.#enqueue({ step, resolve, reject }));
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0, groupLength(this.#queue));
      this.#group = group;
      try {
        await this.#carryOut(group);
        for (const { resolve } of group) resolve();
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#busy = false;
  }

  /** Refuses what waits, what is being carried out (even if it never ends) and everything that follows. */
  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { reject } of [...this.#group, ...this.#queue.splice(0)]) reject(error);
  }

  async #carryOut(group: readonly Waiting[]): Promise<void> {
    const first = group[0];
    if (first === undefined) return;
    if ('step' in first) return first.step();
    const { vote, snapshot, truncateFrom } = first.write;
    if (vote) await this.#storeVote(vote);
    if (snapshot) await this.#install(snapshot);
    if (truncateFrom !== undefined) await this.#log.truncate(truncateFrom);
    await this.#append(group);
  }

  async #storeVote(vote: Metadata['vote']): Promise<void> {
    const { disk, directory } = this.#options;
    this.#metadata = await this.space.patiently(() =>
      storeMetadata(disk, directory, this.#metadata, vote),
    );
  }

  async #append(group: readonly Waiting[]): Promise<void> {
    const entries = appendsOf(group);
    if (entries.length === 0) return;
    if (!channels.append.hasSubscribers) return this.#log.append(entries);
    const startedAt = this.#options.clock.now();
    await this.#log.append(entries);
    channels.append.publish({
      entries: entries.length,
      bytes: entries.reduce((sum, entry) => sum + entry.data.length, 0),
      durationMs: this.#options.clock.now() - startedAt,
    });
  }

  /** Raft installs a snapshot only when the log does not hold its last entry: the whole log goes. */
  async #install({ meta, data }: Snapshot): Promise<void> {
    this.#log.finishCurrent();
    const stored =
      data instanceof StoredSnapshot
        ? data
        : await this.space.patiently(() => this.#files.write(data.chunks()));
    await this.space.patiently(() => this.#publish(meta, stored));
    await this.#log.restart((meta.index + 1) as Index);
  }

  /** Puts a snapshot in place and removes the segments that nobody needs any more. */
  #publish(meta: SnapshotMeta, stored: StoredSnapshot): Promise<void> {
    const published = this.#publishing.then(async () => {
      await this.#log.settled();
      await this.#files.publish(meta, stored, Math.floor(this.#options.clock.now()));
      const { trailingEntries, trailingBytes } = this.#options;
      // The older snapshot is of use only with the log that follows it.
      const older = this.#files.oldest?.index ?? meta.index;
      const old = Math.min(meta.index - trailingEntries, older) as Index;
      await this.#log.removeCovered(old, older as Index, trailingBytes ?? Number.POSITIVE_INFINITY);
    });
    this.#publishing = published.catch(() => {});
    return published;
  }

  /** Content that cannot be read is somebody else's failure; content that cannot be written is the disk's. */
  async #store(chunks: AsyncIterable<Uint8Array>): Promise<StoredSnapshot> {
    let sourceFailed = false;
    const isClosed = (): boolean => this.#closed;
    async function* whileOpen(): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of chunks) {
          if (isClosed()) throw new Error('the store is closed');
          yield chunk;
        }
      } catch (error) {
        sourceFailed = true;
        throw error;
      }
    }
    return this.#orFail(this.#files.write(whileOpen()), () => sourceFailed);
  }

  /** A snapshot that finds no space is none; anything else that fails is the disk, unless it is harmless. */
  async #orFail<T>(work: Promise<T>, isHarmless = (): boolean => false): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof DiskFullError || isHarmless())) this.#failure ??= error;
      throw error;
    }
  }
}

/**
 * How many of those that wait are made durable together: a step alone; a write with all that follow it and
 * only append, up to what leaves in one write.
 */
function groupLength(queue: readonly Waiting[]): number {
  let sizeBytes = 0;
  for (const [at, waiting] of queue.entries()) {
    if ('step' in waiting) return Math.max(at, 1);
    const { vote, snapshot, truncateFrom, append } = waiting.write;
    const onlyAppends = !vote && !snapshot && truncateFrom === undefined;
    for (const entry of append) sizeBytes += entryBytes(entry);
    if (at > 0 && (!onlyAppends || sizeBytes > batchBytesLimit)) return at;
  }
  return queue.length;
}

function appendsOf(group: readonly Waiting[]): readonly Entry[] {
  const only = group[0];
  if (group.length === 1 && only && 'write' in only) return only.write.append;
  return group.flatMap((waiting) => ('write' in waiting ? waiting.write.append : []));
}

/** For names only. */
function nanosecondsOf(clock: Clock): bigint {
  return BigInt(Math.floor(clock.now() * 1000)) * 1000n;
}
