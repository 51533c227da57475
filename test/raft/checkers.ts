import { strict as assert } from 'node:assert';
import type { Applied, Effects, Transition } from '../../src/raft/events.ts';
import type { Entry, Instant } from '../../src/raft/types.ts';
import type { TestServer } from './cluster.ts';

/** The properties of the Raft paper's figure 3, and linearizable reads, checked as things happen. */
export class Checkers {
  readonly #leaders = new Map<number, TestServer['id']>();
  /** Index and term name an entry: its bytes and the entry before it never differ. */
  readonly #entries = new Map<string, string>();
  /** What is committed at each index, by term and bytes. */
  readonly #committed: string[] = [];
  #acknowledged = 0;
  #reads = 0;

  /** The newest entry whose proposer was told that it is committed. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  get summary() {
    const committed = this.#committed.length;
    return { committed, leaders: this.#leaders.size, reads: this.#reads };
  }

  /** "Log Matching: if two logs contain an entry with the same index and term, then the logs are identical". */
  stepped(on: TestServer, { persist }: Effects): void {
    for (const entry of persist?.append ?? []) {
      const before = on.log[entry.index - 1 - (on.log[0]?.index ?? 0)];
      const snapshot = on.disk.snapshot?.meta;
      const prevTerm =
        before?.term ?? (snapshot?.index === entry.index - 1 ? snapshot.term : undefined);
      const content = `${entry.type} ${entry.data.toString('hex')}`;
      same(this.#entries, nameOf(entry), content, 'entries with one name are the same');
      if (prevTerm === undefined) continue;
      same(this.#entries, `before ${nameOf(entry)}`, `${prevTerm}`, 'logs match before an entry');
    }
  }

  /** "State Machine Safety": no two servers apply different entries at one index. */
  applied(_on: TestServer, applied: readonly Applied[]): void {
    for (const { entry, ticket } of applied) {
      const known = this.#committed[entry.index];
      const content = `${entry.term} ${entry.data.toString('hex')}`;
      assert(known === undefined || known === content, `applied the same at ${entry.index}`);
      this.#committed[entry.index] = content;
      if (ticket !== undefined) this.#acknowledged = Math.max(this.#acknowledged, entry.index);
    }
  }

  /** "Election Safety" and "Leader Completeness". */
  transition(on: TestServer, { state, term }: Transition): void {
    if (state !== 'leader') return;
    const known = this.#leaders.get(term);
    assert(known === undefined || known === on.id, `one leader in term ${term}`);
    if (known !== undefined) return;
    this.#leaders.set(term, on.id);
    const log = new Map(on.log.map((entry) => [entry.index as number, entry]));
    for (const [at, content] of this.#committed.entries()) {
      const entry = log.get(at);
      if (content === undefined || (entry === undefined && at <= on.machine.index)) continue;
      const has = entry === undefined ? 'nothing' : `${entry.term} ${entry.data.toString('hex')}`;
      assert.equal(has, content, `the leader of term ${term} has the committed entry ${at}`);
    }
  }

  /** A read that was settled sees everything acknowledged before it was asked. */
  read(acknowledgedBefore: number, index: number): void {
    this.#reads++;
    assert(index >= acknowledgedBefore, `a read at ${index} misses ${acknowledgedBefore}`);
  }

  /** Whoever holds a lease may be read from: it has applied everything acknowledged anywhere. */
  lease(server: TestServer, now: Instant): void {
    if (server.raft === undefined || now >= server.raft.leaseUntil) return;
    this.#reads++;
    assert(
      server.machine.index >= this.#acknowledged,
      `the lease of ${server.id} at ${server.machine.index} misses ${this.#acknowledged}`,
    );
  }
}

function nameOf(entry: Entry): string {
  return `${entry.index}/${entry.term}`;
}

function same(known: Map<string, string>, name: string, content: string, what: string): void {
  const before = known.get(name);
  assert(before === undefined || before === content, `${what}: ${name}`);
  if (before === undefined) known.set(name, content);
}
