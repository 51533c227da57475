import type { Clock } from '../../src/base/clock.ts';
import type { Index, Instant, ServerId, Term } from '../../src/base/ids.ts';
import { nullLogger } from '../../src/base/logger.ts';
import type { Random } from '../../src/base/random.ts';
import type { Persist } from '../../src/raft/events.ts';
import type { Configuration, Entry, SnapshotData, SnapshotMeta } from '../../src/raft/types.ts';
import type { Disk } from '../../src/storage/disk.ts';
import { DiskRaftStore, type DiskRaftStoreOptions } from '../../src/storage/raft-store.ts';

/** A clock that moves by itself a little whenever it is looked at, and runs nothing. */
export function lookedAtClock(): Clock {
  let now = 1000;
  return {
    now: () => ++now as Instant,
    after: () => ({ cancel: () => {} }),
    nextTurn: () => {},
  };
}

export const members: Configuration = {
  servers: [{ id: 1n as ServerId, address: '127.0.0.1:9001', role: 'voter' }],
};

export function storeOn(
  disk: Disk,
  directory: string,
  options: Partial<DiskRaftStoreOptions> = {},
): DiskRaftStore {
  return new DiskRaftStore({
    disk,
    directory,
    clock: lookedAtClock(),
    logger: nullLogger,
    trailingEntries: 8192,
    autoRecovery: false,
    segmentBytes: 64 * 1024,
    ...options,
  });
}

export function entry(index: number, term: number, data: Buffer | number): Entry {
  return {
    index: index as Index,
    term: term as Term,
    type: 'command',
    data: typeof data === 'number' ? Buffer.alloc(data, index + term) : data,
  };
}

let writes = 0;

export function persist(parts: Partial<Persist>): Persist {
  writes += 1;
  return {
    write: writes,
    vote: undefined,
    snapshot: undefined,
    truncateFrom: undefined,
    append: [],
    // biome-ignore lint/suspicious/noThenProperty: the port calls it so, and nobody awaits a write
    then: [],
    ...parts,
  };
}

export function append(...entries: readonly Entry[]): Persist {
  return persist({ append: entries });
}

export function vote(term: number, votedFor?: bigint): Persist {
  return persist({
    vote: { term: term as Term, votedFor: votedFor as ServerId | undefined },
  });
}

export function truncateFrom(index: number, ...entries: readonly Entry[]): Persist {
  return persist({ truncateFrom: index as Index, append: entries });
}

export function metaAt(index: number, term: number): SnapshotMeta {
  return {
    index: index as Index,
    term: term as Term,
    configuration: members,
    configurationIndex: 1 as Index,
  };
}

/** A snapshot's content from memory, in chunks. */
export function content(bytes: Buffer, chunkBytes = 10_000): SnapshotData {
  return {
    sizeBytes: bytes.length,
    async *chunks() {
      for (let at = 0; at < bytes.length; at += chunkBytes)
        yield bytes.subarray(at, at + chunkBytes);
    },
    release() {},
  };
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

/** Bytes that compress a little, as pages do. */
export function pages(random: Random, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at + 4 <= sizeBytes; at += at % 96 < 40 ? 4 : 56) {
    bytes.writeUInt32LE(random.int(0, 0xffffffff), at);
  }
  return bytes;
}
