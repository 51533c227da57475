import type { Applied, Persist, Transition } from '../../src/raft/events.ts';
import type { PeerMessage } from '../../src/raft/messages.ts';
import type { Loaded } from '../../src/raft/ports.ts';
import { majority } from '../../src/raft/quorum.ts';
import type { Entry, ServerId, SnapshotMeta, Vote } from '../../src/raft/types.ts';
import { type Chain, emptyChain, sameChain } from './chain.ts';
import { LogMirror, type MirrorEntry, membersOf } from './log-mirror.ts';
import { Violation } from './violation.ts';
import { checkDeposed, checkHandover, checkKept, type Watched } from './watched.ts';

interface Committed {
  readonly entry: MirrorEntry;
  /** The lowest term in which a server took it for committed. */
  inTerm: number;
}

/**
 * Figure 3 of the Raft paper, and what the storage promises, checked at every event:
 * election safety, log matching, leader completeness, state machine safety (committed entries never change and are
 * applied once, in order, the same everywhere); what is committed is durable on a majority; what a disk promised
 * is there after a crash.
 */
export class Checkers {
  readonly #hosts = new Map<ServerId, Watched>();
  readonly #leaders = new Map<number, ServerId>();
  /** Entries by index and term, with the chain of what comes before. */
  readonly #names = new Map<number, { chain: Chain; before: Chain }>();
  /** Votes given: by server and term. */
  readonly #votes = new Map<string, ServerId>();
  /** By index; nothing at 0. */
  readonly #committed: Committed[] = [
    { entry: { index: 0, term: 0, chain: emptyChain }, inTerm: 0 },
  ];
  #acknowledgedIndex = 0;
  /** What a machine held at an index. */
  readonly #images = new Map<number, string>();

  /** The newest committed entry. */
  get committedIndex(): number {
    return this.#committed.length - 1;
  }

  /** The newest entry whose proposer was told that it is committed. */
  get acknowledgedIndex(): number {
    return this.#acknowledgedIndex;
  }

  /** How many terms had a leader. */
  get leaders(): number {
    return this.#leaders.size;
  }

  /** A process reads what its disk kept: everything promised, nothing invented. */
  loaded(id: ServerId, { vote, snapshot, entries }: Loaded): void {
    const before = this.#hosts.get(id);
    const log = new LogMirror();
    const first = entries[0];
    const covered = snapshot === undefined ? undefined : this.#changeIn(snapshot);
    if (first !== undefined && first.index > 1) log.restart(this.#before(first), covered);
    else if (first === undefined && snapshot !== undefined)
      log.restart(this.#base(snapshot), covered);
    for (const entry of entries) this.#push(log, entry, entry.index === 1);
    if (before !== undefined) checkKept(id, before, { vote, snapshot, log });
    this.#stored(id, vote);
    const base = snapshot === undefined ? undefined : this.#base(snapshot);
    this.#hosts.set(id, {
      log,
      durable: log.copy(),
      durableVote: vote,
      durableSnapshot: snapshot?.index ?? 0,
      issued: [],
      appliedIndex: base?.index ?? 0,
      appliedChain: base?.chain ?? emptyChain,
      transition: undefined,
      handedOverIn: undefined,
      electedAsVoter: false,
      started: undefined,
    });
  }

  /** A write is handed to the disk. */
  persisting(id: ServerId, write: Persist): void {
    const host = this.#host(id);
    if (write.vote !== undefined) this.#checkVote(id, write.vote);
    const meta = write.snapshot?.meta;
    const installed = meta === undefined ? undefined : this.#base(meta);
    if (installed !== undefined && meta !== undefined) {
      host.log.restart(installed, this.#changeIn(meta));
      host.appliedIndex = installed.index;
      host.appliedChain = installed.chain;
    }
    if (write.truncateFrom !== undefined) {
      const lost = this.#committed[write.truncateFrom];
      const own = host.log.at(write.truncateFrom);
      if (lost !== undefined && own !== undefined && sameChain(lost.entry.chain, own.chain)) {
        throw new Violation(`${id} removes the committed entry ${write.truncateFrom}`);
      }
      host.log.truncateFrom(write.truncateFrom);
    }
    checkHandover(id, host, write);
    checkDeposed(id, host, write);
    const appended = write.append.map((entry) => {
      if (entry.type === 'change') {
        const before = host.log.changeAt(entry.index - 1)?.index ?? 0;
        host.started = { index: entry.index, term: entry.term, before };
      }
      return this.#push(host.log, entry, true);
    });
    const { vote, truncateFrom } = write;
    host.issued.push({ write: write.write, vote, installed, truncateFrom, appended });
  }

  /**
   * A message leaves. "Before responding to RPCs" a server updates on stable storage (Raft paper, figure 2): votes
   * given, terms, and the entries that an answer vouches for.
   */
  sending(id: ServerId, to: ServerId, message: PeerMessage): void {
    const host = this.#host(id);
    const { durable, durableVote } = host;
    if (message.kind === 'timeoutNow') host.handedOverIn = message.term;
    const isVote = message.kind === 'requestVoteResult' && message.granted && !message.preVote;
    const isCandidacy = message.kind === 'requestVote' && !message.preVote;
    if (isVote || isCandidacy) {
      const candidate = isVote ? to : id;
      const isDurable = durableVote?.term === message.term && durableVote.votedFor === candidate;
      if (!isDurable) throw new Violation(`${id} speaks of a vote that is not on its disk`);
    }
    if (message.kind !== 'appendEntriesResult' || message.rejected !== 0) return;
    if (message.lastIndex > durable.lastIndex) {
      throw new Violation(
        `${id} vouches for ${message.lastIndex}; its disk holds ${durable.lastIndex}`,
      );
    }
  }

  /** The disk says that a write is durable. */
  persisted(id: ServerId, write: number): void {
    const host = this.#host(id);
    const next = host.issued.shift();
    if (next?.write !== write) throw new Violation(`write ${write} of ${id} came out of turn`);
    if (next.vote !== undefined) this.#stored(id, next.vote);
    host.durableVote = next.vote ?? host.durableVote;
    if (next.installed !== undefined) {
      host.durable.restart(next.installed);
      host.durableSnapshot = next.installed.index;
    }
    if (next.truncateFrom !== undefined) host.durable.truncateFrom(next.truncateFrom);
    for (const entry of next.appended) host.durable.push(entry);
  }

  /** The disk says that a snapshot of the own machine is in place. */
  snapshotWritten(id: ServerId, meta: SnapshotMeta): void {
    this.#base(meta);
    const host = this.#host(id);
    const members = host.log.changeAt(meta.index)?.members;
    if (members !== undefined && members !== membersOf(meta.configuration)) {
      throw new Violation(`the snapshot of ${id} at ${meta.index} has other members than its log`);
    }
    host.durableSnapshot = Math.max(host.durableSnapshot, meta.index);
  }

  /** Entries are handed to the machine. */
  applied(id: ServerId, entries: readonly Applied[]): void {
    const host = this.#host(id);
    for (const { entry } of entries) {
      if (entry.index !== host.appliedIndex + 1) {
        throw new Violation(`${id} applies ${entry.index} after ${host.appliedIndex}`);
      }
      const own = host.log.at(entry.index);
      if (own === undefined || own.term !== entry.term) {
        throw new Violation(
          `${id} applies ${entry.index}/${entry.term}, which its log does not hold`,
        );
      }
      this.#commit(id, host, own, entry === entries.at(-1)?.entry);
      host.appliedIndex = entry.index;
      host.appliedChain = own.chain;
    }
  }

  /** Whoever proposed these is about to be told that they are committed. */
  acknowledged(entries: readonly Applied[]): void {
    for (const { entry, ticket } of entries) {
      if (ticket === undefined || entry.index <= this.#acknowledgedIndex) continue;
      if (entry.index > this.committedIndex) {
        throw new Violation(`${entry.index} is acknowledged and not committed`);
      }
      this.#acknowledgedIndex = entry.index;
    }
  }

  /** A server's place changed. */
  transition(id: ServerId, transition: Transition): void {
    const host = this.#host(id);
    host.transition = transition;
    if (!transition.transferring) host.handedOverIn = undefined;
    const { state, term, configuration } = transition;
    const members = host.log.changeAt(host.log.lastIndex)?.members ?? membersOf({ servers: [] });
    if (members !== membersOf(configuration)) {
      throw new Violation(`${id} works with ${membersOf(configuration)}; its log says ${members}`);
    }
    this.#checkChange(id, host);
    host.started = undefined;
    if (state !== 'leader') return;
    const known = this.#leaders.get(term);
    if (known === id) return;
    if (known !== undefined) throw new Violation(`${known} and ${id} both lead term ${term}`);
    this.#leaders.set(term, id);
    host.electedAsVoter = configuration.servers.some(
      (server) => server.id === id && server.role === 'voter',
    );
    const needed = this.#committed.findLast(({ inTerm }) => inTerm < term)?.entry;
    if (needed === undefined) return;
    const own = host.log.at(needed.index);
    const has = own !== undefined && sameChain(own.chain, needed.chain);
    if (!has && host.log.baseIndex < needed.index) {
      throw new Violation(
        `the leader of term ${term} (${id}) misses committed entry ${needed.index}`,
      );
    }
  }

  /** Whether this is the state of others that have applied everything up to `index`; the first one to say so is right. */
  isStateOf(index: number, image: string): boolean {
    const known = this.#images.get(index);
    if (known === undefined) this.#images.set(index, image);
    return known === undefined || known === image;
  }

  /** The chain of everything committed up to `index`. */
  committedChain(index: number): Chain | undefined {
    return this.#committed[index]?.entry.chain;
  }

  #commit(id: ServerId, host: Watched, own: MirrorEntry, isNewest: boolean): void {
    const leads = host.transition?.state === 'leader';
    const inTerm = leads ? (host.transition?.term ?? own.term) : Number.POSITIVE_INFINITY;
    const known = this.#committed[own.index];
    if (known !== undefined) {
      if (!sameChain(known.entry.chain, own.chain)) {
        throw new Violation(
          `${id} applies ${own.index}/${own.term} where ${known.entry.index}/${known.entry.term} was committed`,
        );
      }
      known.inTerm = Math.min(known.inTerm, inTerm);
      return;
    }
    if (own.index !== this.#committed.length) throw new Violation(`${id} skips to ${own.index}`);
    this.#committed.push({ entry: own, inTerm });
    this.#checkDurable(id, host, own);
    // "Only log entries from the leader's current term are committed by counting replicas" (section 5.4.2).
    if (leads && isNewest && own.term !== inTerm) {
      throw new Violation(`${id} commits ${own.index}/${own.term} by counting in term ${inTerm}`);
    }
  }

  /**
   * A leader starts a change when the one before and an entry of its own term are committed (Raft dissertation,
   * section 4.1, and the note of its author on single-server changes).
   */
  #checkChange(id: ServerId, { started, transition }: Watched): void {
    if (transition?.state !== 'leader' || started === undefined) return;
    const { before, index, term } = started;
    if (transition.term !== term) return;
    if (before > this.committedIndex) {
      throw new Violation(`${id} starts change ${index} while change ${before} is not committed`);
    }
    // Another server may lead a later term already, and have committed more.
    const newest = this.#committed.findLast(({ entry }) => entry.term <= term);
    if (newest?.entry.term !== term) {
      throw new Violation(`${id} starts change ${index}; nothing of term ${term} is committed`);
    }
  }

  /** "A log entry is committed once the leader has replicated it on a majority of the servers" (section 5.3). */
  #checkDurable(id: ServerId, host: Watched, entry: MirrorEntry): void {
    const { transition } = host;
    if (transition?.state !== 'leader') return;
    const voters = transition.configuration.servers.filter(({ role }) => role === 'voter');
    const holders = voters.filter((server) => {
      const durable = this.#hosts.get(server.id)?.durable;
      if (durable === undefined) return false;
      const own = durable.at(entry.index);
      return own === undefined
        ? durable.baseIndex > entry.index
        : sameChain(own.chain, entry.chain);
    });
    if (holders.length >= majority(voters.length)) return;
    throw new Violation(
      `${id} takes ${entry.index}/${entry.term} for committed, which ${holders.length} of ${voters.length} voters hold`,
    );
  }

  /** "Each server will vote for at most one candidate in a given term" (section 5.2). */
  #checkVote(id: ServerId, { term, votedFor }: Vote): void {
    const known = this.#votes.get(`${id} ${term}`);
    if (votedFor === undefined || known === undefined || known === votedFor) return;
    throw new Violation(`${id} votes for ${known} and for ${votedFor} in term ${term}`);
  }

  /** A vote that was on its way to the disk when the process died may never have been given. */
  #stored(id: ServerId, { term, votedFor }: Vote): void {
    if (votedFor !== undefined) this.#votes.set(`${id} ${term}`, votedFor);
  }

  /** "If two logs contain an entry with the same index and term, then the logs are identical" up to it. */
  #push(log: LogMirror, entry: Entry, mayBeNew: boolean): MirrorEntry {
    const before = log.at(log.lastIndex)?.chain ?? emptyChain;
    const own = log.following(entry);
    const name = nameOf(entry);
    const known = this.#names.get(name);
    if (known === undefined) {
      if (!mayBeNew) throw new Violation(`${entry.index}/${entry.term} was read, nobody wrote it`);
      this.#names.set(name, { chain: own.chain, before });
    } else if (!sameChain(known.chain, own.chain)) {
      throw new Violation(`two logs differ up to ${entry.index}/${entry.term}`);
    }
    log.push(own);
    return own;
  }

  /** What the oldest entry in a log follows. */
  #before(entry: Entry): MirrorEntry {
    const known = this.#names.get(nameOf(entry));
    if (known === undefined) {
      throw new Violation(`${entry.index}/${entry.term} was read, nobody wrote it`);
    }
    return { index: entry.index - 1, term: 0, chain: known.before };
  }

  /** What a snapshot stands for: committed entries only, and the last one's term. */
  #base({ index, term }: SnapshotMeta): MirrorEntry {
    const committed = this.#committed[index]?.entry;
    if (committed === undefined) throw new Violation(`a snapshot of uncommitted entry ${index}`);
    if (committed.term !== term) {
      throw new Violation(`a snapshot of ${index}/${term} where ${committed.term} is the term`);
    }
    return committed;
  }

  /** The members that a snapshot carries, as an entry. */
  #changeIn({ configuration, configurationIndex }: SnapshotMeta): MirrorEntry {
    const members = membersOf(configuration);
    return { index: configurationIndex, term: 0, chain: emptyChain, members };
  }

  #host(id: ServerId): Watched {
    const host = this.#hosts.get(id);
    if (host === undefined) throw new Violation(`${id} acts before it has read its disk`);
    return host;
  }
}

function nameOf({ index, term }: { readonly index: number; readonly term: number }): number {
  return index * 2 ** 20 + term;
}
