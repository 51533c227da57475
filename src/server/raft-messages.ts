import { assert } from '../base/assert.ts';
import type { Index, Term } from '../base/ids.ts';
import { entryTypeNumbers, entryTypeOf } from '../protocol/peer-codec.ts';
import type { Applied, Sender, Settlement, Ticket, Transition } from '../raft/events.ts';
import type { SnapshotMeta } from '../raft/types.ts';
import type { LaneAddress } from './fast-lane.ts';
import type { HandoverAddress } from './peer-handover.ts';
import type { RelayMessage } from './peer-relay.ts';
import type { RaftRequest } from './raft-consensus.ts';
import type { RaftNodeOptions, RaftNodeStatus } from './raft-node.ts';
import type { SnapshotStreamMessage } from './raft-snapshot-stream.ts';
import type { RaftStorageOptions } from './raft-storage.ts';

/** What the Raft thread is started with. */
export interface RaftThreadData {
  readonly options: RaftNodeOptions;
  readonly storage: RaftStorageOptions;
  /** Lines below it are not worth the way to the main thread. */
  readonly logLevel: string;
  readonly handover: HandoverAddress;
  /** The memory of a SharedLease, on the clock that all threads share. */
  readonly lease: SharedArrayBuffer;
  /** The short way to the main thread; undefined where there is no addon. */
  readonly lane: LaneAddress | undefined;
}

/** From the main thread to the node. `mainSnapshot` and `raftSnapshot` say which thread has the snapshot. */
export type ToNode =
  | ProposeBatch
  | Exclude<RaftRequest, { type: 'propose' }>
  | { readonly type: 'mainSnapshot' | 'raftSnapshot'; readonly message: SnapshotStreamMessage }
  | {
      readonly type: 'snapshotReady';
      readonly request: number;
      readonly snapshot: number;
      readonly sizeBytes: number;
    }
  | { readonly type: 'restored'; readonly request: number; readonly error: string | undefined }
  /** So many bytes of what `apply` brought are applied. */
  | { readonly type: 'applied'; readonly bytes: number };

/** From the main thread to the Raft thread. */
export type ToRaft =
  | ToNode
  /** The machine is ready to be driven. */
  | { readonly type: 'start' }
  | {
      readonly type: 'adopt';
      readonly number: number;
      readonly sender: Sender;
      readonly leftover: Uint8Array;
      readonly relayed: boolean;
    }
  | { readonly type: 'relay'; readonly message: RelayMessage }
  | { readonly type: 'status'; readonly request: number }
  | { readonly type: 'stop' };

/** From the node to the main thread. The first four reach the machine in this order. */
export type FromNode =
  | AppliedBatch
  | { readonly type: 'transition'; readonly transition: Transition }
  | { readonly type: 'takeSnapshot'; readonly request: number }
  | {
      readonly type: 'restore';
      readonly request: number;
      readonly meta: SnapshotMeta;
      readonly snapshot: number;
      readonly sizeBytes: number;
    }
  | { readonly type: 'settle'; readonly settlement: Settlement }
  | { readonly type: 'mainSnapshot' | 'raftSnapshot'; readonly message: SnapshotStreamMessage };

/** From the Raft thread to the main thread. */
export type FromRaft =
  | FromNode
  | { readonly type: 'started' }
  | { readonly type: 'probed' }
  | { readonly type: 'relay'; readonly message: RelayMessage }
  | {
      readonly type: 'log';
      readonly level: LogLevel;
      readonly fields: Record<string, unknown>;
      readonly message: string;
    }
  | {
      readonly type: 'published';
      readonly channel: 'snapshot';
      readonly payload: unknown;
    }
  | { readonly type: 'status'; readonly request: number; readonly status: RaftNodeStatus }
  | { readonly type: 'fatal'; readonly error: PackedError }
  | { readonly type: 'stopped' };

/** An error without its class, which does not survive the way between threads. */
export interface PackedError {
  readonly name: string;
  readonly message: string;
  readonly code: unknown;
  readonly stack: string | undefined;
}

/** Takes from an error what the other thread can show. */
export function packError(error: unknown): PackedError {
  if (!(error instanceof Error)) {
    return { name: 'Error', message: String(error), code: undefined, stack: undefined };
  }
  const { name, message, stack } = error;
  return { name, message, stack, code: 'code' in error ? error.code : undefined };
}

/** The error on the other thread: told apart by `name` and `code`. */
export function unpackError({ name, message, code, stack }: PackedError): Error {
  return Object.assign(new Error(message), { name, code, stack });
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** Commands of one leadership, where they lie in memory that the threads share. */
export interface ProposeBatch {
  readonly type: 'propose';
  readonly term: Term;
  readonly tickets: readonly Ticket[];
  /** Commands in their order; those of one piece lie one behind the other. */
  readonly pieces: readonly CommandPiece[];
}

interface CommandPiece {
  readonly memory: SharedArrayBuffer;
  readonly start: number;
  readonly sizes: readonly number[];
}

/** Tells where commands lie. One that is not in shared memory is copied there. */
export function batchProposals(
  term: Term,
  proposals: readonly { readonly ticket: Ticket; readonly command: Buffer }[],
): ProposeBatch {
  const tickets: Ticket[] = [];
  const pieces: { memory: SharedArrayBuffer; start: number; sizes: number[] }[] = [];
  let end = 0;
  for (const { ticket, command } of proposals) {
    tickets.push(ticket);
    const { buffer, byteOffset, length } = shared(command);
    const last = pieces.at(-1);
    if (last?.memory === buffer && byteOffset === end) last.sizes.push(length);
    else pieces.push({ memory: buffer, start: byteOffset, sizes: [length] });
    end = byteOffset + length;
  }
  return { type: 'propose', term, tickets, pieces };
}

function shared(command: Buffer): Buffer<SharedArrayBuffer> {
  if (command.buffer instanceof SharedArrayBuffer) return command as Buffer<SharedArrayBuffer>;
  const copy = Buffer.from(new SharedArrayBuffer(command.length));
  copy.set(command);
  return copy;
}

/** Takes a batch apart; the commands are views of the shared memory. */
export function unbatchProposals(
  batch: ProposeBatch,
): { readonly ticket: Ticket; readonly command: Buffer }[] {
  const proposals: { ticket: Ticket; command: Buffer }[] = [];
  for (const { memory, start, sizes } of batch.pieces) {
    let at = start;
    for (const size of sizes) {
      const ticket = batch.tickets[proposals.length];
      assert(ticket !== undefined, 'each command has a ticket');
      proposals.push({ ticket, command: Buffer.from(memory, at, size) });
      at += size;
    }
  }
  return proposals;
}

/** Committed entries in columns: consecutive, and own proposals without their data, which the proposer has. */
export interface AppliedBatch {
  readonly type: 'apply';
  readonly firstIndex: Index;
  readonly terms: readonly number[];
  readonly types: readonly number[];
  /** 0 for entries of others. */
  readonly tickets: readonly Ticket[];
  readonly sizes: readonly number[];
  readonly data: ArrayBuffer;
}

/** Entries as they travel, with the memory that changes hands. The log keeps its own copy of the data. */
export function batchApplied(entries: readonly Applied[]): AppliedBatch {
  const [first] = entries;
  assert(first !== undefined, 'a batch has entries');
  const data: Buffer[] = [];
  const terms: number[] = [];
  const types: number[] = [];
  const tickets: number[] = [];
  const sizes: number[] = [];
  for (const { entry, ticket } of entries) {
    assert(entry.index === first.entry.index + terms.length, 'applied entries are consecutive');
    terms.push(entry.term);
    types.push(entryTypeNumbers[entry.type]);
    tickets.push(ticket ?? 0);
    sizes.push(ticket === undefined ? entry.data.length : 0);
    if (ticket === undefined) data.push(entry.data);
  }
  const firstIndex = first.entry.index;
  return { type: 'apply', firstIndex, terms, types, tickets, sizes, data: joined(data) };
}

/** Takes a batch apart; the data are views of it. */
export function unbatchApplied(batch: AppliedBatch): Applied[] {
  const data = cut(batch.data, batch.sizes);
  return batch.terms.map((term, i) => {
    const type = entryTypeOf(batch.types[i] ?? 0);
    assert(type !== undefined, 'entries keep their type between threads');
    const index = (batch.firstIndex + i) as Index;
    const entry = { index, term: term as Term, type, data: data[i] ?? Buffer.alloc(0) };
    return { entry, ticket: batch.tickets[i] || undefined };
  });
}

function joined(buffers: readonly Buffer[]): ArrayBuffer {
  let sizeBytes = 0;
  for (const { length } of buffers) sizeBytes += length;
  const all = new Uint8Array(sizeBytes);
  let at = 0;
  for (const buffer of buffers) {
    all.set(buffer, at);
    at += buffer.length;
  }
  return all.buffer;
}

function cut(data: ArrayBuffer, sizes: readonly number[]): Buffer[] {
  let at = 0;
  return sizes.map((size) => {
    at += size;
    return Buffer.from(data, at - size, size);
  });
}
