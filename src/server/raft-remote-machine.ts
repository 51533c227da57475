import { assert } from '../base/assert.ts';
import type { Applied, Transition } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';
import type { Snapshot, SnapshotData } from '../raft/types.ts';
import type { RaftChannel } from './raft-channel.ts';
import { batchApplied, type FromRaft, type ToRaft } from './raft-messages.ts';
import type { SnapshotBorrower, SnapshotLender } from './raft-snapshot-stream.ts';

/** The state machine as the Raft thread sees it: every call becomes a message, in order. */
export class RemoteMachine implements StateMachine {
  readonly #channel: RaftChannel<FromRaft>;
  readonly #lender: SnapshotLender;
  readonly #borrower: SnapshotBorrower;
  readonly #handedOut: (bytes: number) => void;
  readonly #snapshots = new Map<number, RemoteSnapshot>();
  readonly #restores = new Map<number, (error: string | undefined) => void>();
  #lastRequest = 0;

  /** @param handedOut hears of the bytes that the machine has yet to apply */
  constructor(
    channel: RaftChannel<FromRaft>,
    lender: SnapshotLender,
    borrower: SnapshotBorrower,
    handedOut: (bytes: number) => void,
  ) {
    this.#channel = channel;
    this.#lender = lender;
    this.#borrower = borrower;
    this.#handedOut = handedOut;
  }

  apply(entries: readonly Applied[]): void {
    const batch = batchApplied(entries);
    const { data } = batch;
    this.#handedOut(data.byteLength);
    // Somebody waits for what was proposed here; what other leaders proposed need only be there when it is asked for.
    if (batch.tickets.some((ticket) => ticket !== 0)) this.#channel.post(batch, [data]);
    else this.#channel.postLater(batch, [data]);
  }

  transition(transition: Transition): void {
    this.#channel.post({ type: 'transition', transition });
  }

  /** Its size is known, and its chunks can be read, once `ready` has resolved. */
  takeSnapshot(): RemoteSnapshot {
    const request = ++this.#lastRequest;
    const snapshot = new RemoteSnapshot();
    this.#snapshots.set(request, snapshot);
    this.#channel.post({ type: 'takeSnapshot', request });
    return snapshot;
  }

  restore({ meta, data }: Snapshot): Promise<void> {
    const request = ++this.#lastRequest;
    const { sizeBytes } = data;
    // The caller releases the data when this resolves: what is lent has nothing to release.
    const lent = { sizeBytes, chunks: () => data.chunks(), release: () => {} };
    const snapshot = this.#lender.lend(lent);
    this.#channel.post({ type: 'restore', request, meta, snapshot, sizeBytes });
    return new Promise((resolve, reject) => {
      this.#restores.set(request, (error) => {
        this.#lender.receive({ type: 'snapshotRelease', snapshot });
        if (error === undefined) resolve();
        else reject(new Error(error));
      });
    });
  }

  /** What the machine says about a snapshot that was asked for. */
  snapshotReady(message: Extract<ToRaft, { type: 'snapshotReady' }>): void {
    const { request, snapshot, sizeBytes } = message;
    this.#snapshots.get(request)?.become(this.#borrower.borrow(snapshot, sizeBytes));
    this.#snapshots.delete(request);
  }

  /** What the machine says about a snapshot that it was given. */
  restored({ request, error }: Extract<ToRaft, { type: 'restored' }>): void {
    this.#restores.get(request)?.(error);
    this.#restores.delete(request);
  }
}

/** A snapshot that the machine on the other thread was asked to take. */
export class RemoteSnapshot implements SnapshotData {
  readonly ready: Promise<void>;
  #data: SnapshotData | undefined;
  #isReady: () => void = () => {};

  constructor() {
    this.ready = new Promise((resolve) => {
      this.#isReady = resolve;
    });
  }

  become(data: SnapshotData): void {
    this.#data = data;
    this.#isReady();
  }

  get sizeBytes(): number {
    return this.#taken().sizeBytes;
  }

  chunks(): AsyncIterable<Uint8Array> {
    return this.#taken().chunks();
  }

  release(): void {
    void this.ready.then(() => this.#data?.release());
  }

  #taken(): SnapshotData {
    assert(this.#data !== undefined, 'wait for `ready` first');
    return this.#data;
  }
}
