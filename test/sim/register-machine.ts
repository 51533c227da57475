import { assert } from '../../src/base/assert.ts';
import type { Term } from '../../src/base/ids.ts';
import type { Consensus } from '../../src/gateway/consensus.ts';
import { LeadershipCheck } from '../../src/gateway/leadership-check.ts';
import type { Applied, Ticket, Transition } from '../../src/raft/events.ts';
import type { Snapshot, SnapshotData } from '../../src/raft/types.ts';
import { type Chain, emptyChain, extendChain } from './chain.ts';
import type { Service } from './service.ts';

/** What becomes of a write: `lost` says that it may or may not be committed one day. */
export type WriteOutcome = 'committed' | 'lost';

/** A command: `register := value`, and a size for the sake of variety. */
export function encodeWrite(register: number, value: number, words: number): Buffer {
  const data = Buffer.alloc(8 + 8 * words);
  data.writeUInt32LE(register, 0);
  data.writeUInt32LE(value, 4);
  return data;
}

interface Proposed {
  readonly ticket: Ticket;
  readonly command: Buffer;
  readonly done: (outcome: WriteOutcome) => void;
}

/**
 * The cheap machine of the simulator: numbered registers. It treats its own proposals and the loss of
 * leadership as the SQL state machine does, and remembers by a hash what it applied.
 */
export class RegisterMachine implements Service {
  #consensus: Consensus | undefined;
  #proofs: LeadershipCheck | undefined;
  #registers = new Map<number, number>();
  #index = 0;
  #chain: Chain = emptyChain;
  #transition: Transition | undefined;
  #proposed: Proposed[] = [];
  #held: (readonly Applied[])[] | undefined;

  attach(consensus: Consensus): void {
    this.#consensus = consensus;
    this.#proofs = new LeadershipCheck(consensus);
  }

  /** Where reads that have no lease wait for a proof of leadership, as they do at the gateway. */
  get proofs(): LeadershipCheck {
    assert(this.#proofs !== undefined, 'attached before anybody is served');
    return this.#proofs;
  }

  get index(): number {
    return this.#index;
  }

  get restoring(): boolean {
    return this.#held !== undefined;
  }

  get chain(): Chain {
    return this.#chain;
  }

  get leadingTerm(): Term | undefined {
    const transition = this.#transition;
    if (this.#held !== undefined) return undefined;
    return transition?.state === 'leader' && transition.ready ? transition.term : undefined;
  }

  /** Leading, and handing leadership over: writes are refused. */
  get transferring(): boolean {
    return this.#transition?.transferring === true;
  }

  read(register: number): number | undefined {
    return this.#registers.get(register);
  }

  image(): string {
    return [...this.#registers].sort(([a], [b]) => a - b).join(' ');
  }

  /** Proposes a write; `done` is called once, unless this machine dies first. */
  write(command: Buffer, done: Proposed['done']): void {
    const term = this.leadingTerm;
    assert(term !== undefined && this.#consensus !== undefined, 'only a leader is asked to write');
    const ticket = this.#consensus.propose(term, command);
    this.#proposed.push({ ticket, command, done });
  }

  apply(entries: readonly Applied[]): void {
    if (this.#held !== undefined) {
      this.#held.push(entries);
      return;
    }
    const done: Proposed[] = [];
    for (const { entry, ticket } of entries) {
      assert(
        entry.index === this.#index + 1,
        `entry ${entry.index} is applied after ${this.#index}`,
      );
      const proposed = ticket === undefined ? undefined : this.#proposed.shift();
      assert(proposed?.ticket === ticket, 'proposals commit in the order they were made');
      // Own commands come without their bytes when Raft is on another thread.
      const data = proposed?.command ?? entry.data;
      this.#index = entry.index;
      this.#chain = extendChain(this.#chain, { ...entry, data });
      if (entry.type === 'command') {
        this.#registers.set(data.readUInt32LE(0), data.readUInt32LE(4));
      }
      if (proposed !== undefined) done.push(proposed);
    }
    for (const proposed of done) proposed.done('committed');
  }

  transition(transition: Transition): void {
    const before = this.#transition;
    this.#transition = transition;
    const led = before?.state === 'leader';
    if (!led || (transition.state === 'leader' && transition.term === before.term)) return;
    for (const proposed of this.#proposed.splice(0)) proposed.done('lost');
  }

  takeSnapshot(): SnapshotData {
    assert(this.#held === undefined, 'a snapshot is taken between restores');
    const { low, high } = this.#chain;
    const content = Buffer.from(
      JSON.stringify({ index: this.#index, low, high, registers: [...this.#registers] }),
    );
    return {
      sizeBytes: content.length,
      async *chunks() {
        for (let at = 0; at < content.length; at += 32) yield content.subarray(at, at + 32);
      },
      release: () => {},
    };
  }

  async restore({ meta, data }: Snapshot): Promise<void> {
    assert(this.leadingTerm === undefined, 'a leader needs no snapshot');
    // What waits for an older snapshot is part of this one.
    const held: (readonly Applied[])[] = [];
    this.#held = held;
    const content = await contentOf(data).catch((error: unknown) => {
      if (this.#held === held) throw error;
    });
    if (this.#held !== held || content === undefined) return;
    const { index, low, high, registers } = JSON.parse(content);
    assert(index === meta.index, `a snapshot of entry ${index} says that it is of ${meta.index}`);
    this.#index = index;
    this.#chain = { low, high };
    this.#registers = new Map(registers);
    this.#held = undefined;
    for (const entries of held) this.apply(entries);
  }
}

async function contentOf(data: SnapshotData): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of data.chunks()) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}
