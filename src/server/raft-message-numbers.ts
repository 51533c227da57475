import { assert } from '../base/assert.ts';
import type { Index, Term } from '../base/ids.ts';
import { sharedChunkBytes } from '../base/shared-arena.ts';
import { longestRecord } from '../base/shared-ring.ts';
import type { AppliedBatch, FromRaft, ProposeBatch, ToRaft } from './raft-messages.ts';

const kinds = { propose: 1, applied: 2, apply: 3 } as const;

/**
 * What the two threads say for each write, as numbers: one direction of their talk. Both ends have one and see the same
 * messages in the same order: a batch of proposals that lies in the same memory as the one before does not name it again.
 */
export class MessageNumbers<Message extends ToRaft | FromRaft> {
  #memory: SharedArrayBuffer | undefined;

  /**
   * Puts a batch into `into` from `from` on. Returns where it ends; 0 when it does not fit, or says something that is not
   * said in numbers: then it travels as it is, and both ends call `seen`.
   */
  encode(batch: readonly Message[], into: Float64Array, from: number): number {
    let at = from;
    for (const message of batch) {
      switch (message.type) {
        case 'propose':
          at = this.#encodeProposals(message, into, at);
          break;
        case 'apply':
          at = encodeApplied(message, into, at);
          break;
        case 'applied':
          if (at + 2 > longestRecord) return 0;
          into[at] = kinds.applied;
          into[at + 1] = message.bytes;
          at += 2;
          break;
        default:
          return 0;
      }
      if (at === 0) return 0;
    }
    return at;
  }

  /** The messages that lie in `from` between `start` and `end`. */
  decode(from: Float64Array, start: number, end: number): Message[] {
    const messages: (ToRaft | FromRaft)[] = [];
    let at = start;
    const next = (): number => from[at++] ?? 0;
    while (at < end) {
      const kind = next();
      if (kind === kinds.propose) messages.push(this.#decodeProposals(next));
      else if (kind === kinds.apply) messages.push(decodeApplied(next));
      else messages.push({ type: 'applied', bytes: next() });
    }
    return messages as Message[];
  }

  /** A batch travelled as it is. */
  seen(batch: readonly Message[]): void {
    for (const message of batch) {
      if (message.type !== 'propose') continue;
      const memory = message.pieces.at(-1)?.memory;
      // A large command has memory of its own, which must not be kept for the sake of the next one.
      this.#memory =
        memory !== undefined && memory.byteLength <= sharedChunkBytes ? memory : undefined;
    }
  }

  #encodeProposals(
    { term, tickets, pieces }: ProposeBatch,
    into: Float64Array,
    from: number,
  ): number {
    const [piece] = pieces;
    if (piece === undefined || pieces.length > 1 || piece.memory !== this.#memory) return 0;
    if (from + 4 + 2 * tickets.length > longestRecord) return 0;
    into[from] = kinds.propose;
    into[from + 1] = term;
    into[from + 2] = piece.start;
    into[from + 3] = tickets.length;
    let at = from + 4;
    for (let i = 0; i < tickets.length; i++) {
      into[at++] = tickets[i] ?? 0;
      into[at++] = piece.sizes[i] ?? 0;
    }
    return at;
  }

  #decodeProposals(next: () => number): ProposeBatch {
    const memory = this.#memory;
    assert(memory !== undefined, 'proposals lie in memory that both ends know');
    const term = next() as Term;
    const start = next();
    const count = next();
    const tickets: number[] = [];
    const sizes: number[] = [];
    for (let i = 0; i < count; i++) {
      tickets.push(next());
      sizes.push(next());
    }
    return { type: 'propose', term, tickets, pieces: [{ memory, start, sizes }] };
  }
}

/** Only entries without data: own ones, which the machine has, and those that say nothing to it. */
function encodeApplied(batch: AppliedBatch, into: Float64Array, from: number): number {
  const { firstIndex, terms, types, tickets, data } = batch;
  if (data.byteLength > 0 || from + 3 + 3 * terms.length > longestRecord) return 0;
  into[from] = kinds.apply;
  into[from + 1] = firstIndex;
  into[from + 2] = terms.length;
  let at = from + 3;
  for (let i = 0; i < terms.length; i++) {
    into[at++] = terms[i] ?? 0;
    into[at++] = types[i] ?? 0;
    into[at++] = tickets[i] ?? 0;
  }
  return at;
}

function decodeApplied(next: () => number): AppliedBatch {
  const firstIndex = next() as Index;
  const count = next();
  const terms: number[] = [];
  const types: number[] = [];
  const tickets: number[] = [];
  const sizes: number[] = [];
  for (let i = 0; i < count; i++) {
    terms.push(next());
    types.push(next());
    tickets.push(next());
    sizes.push(0);
  }
  return { type: 'apply', firstIndex, terms, types, tickets, sizes, data: new ArrayBuffer(0) };
}
