import { assert } from '../base/assert.ts';
import { WireError } from '../base/errors.ts';
import type { Index, ServerId, Term } from '../base/ids.ts';
import { decodeConfiguration, encodeConfiguration } from './configuration.ts';
import { blob, count64, type Kind, listOf, optional, uint64 } from './kinds.ts';
import type { Entry } from './log.ts';
import type { AppendEntries, RequestVote, WirePeerMessage } from './peer-messages.ts';
import { type AnyMessageOf, codecOf } from './table.ts';
import { Reader, Writer, wordBytes } from './words.ts';

/** Longest header of a message (the entries' data and snapshots are not in it). */
export const maxPeerHeaderBytes = 4 * 1024 * 1024;

/** Longest data of the entries in one message. */
export const maxPeerPayloadBytes = 500 * 1024 * 1024;

/** Type and length in front of each header. */
export const peerPreambleBytes = 2 * wordBytes;

/** Term, type and length of an entry whose data follows the header. */
interface EntryHead {
  readonly term: number;
  readonly type: Entry['type'];
  readonly sizeBytes: number;
}

/** The numbers of entry types, on the wire and in files. */
export const entryTypeNumbers: { readonly [type in Entry['type']]: number } = {
  command: 1,
  barrier: 2,
  change: 3,
};

const entryTypes = Object.keys(entryTypeNumbers) as Entry['type'][];

/** The type of an entry with this number, or undefined when there is none. */
export function entryTypeOf(value: number): Entry['type'] | undefined {
  return entryTypes.find((type) => entryTypeNumbers[type] === value);
}

const entryHead: Kind<EntryHead> = {
  name: '{ uint64 term; uint8 type; 3 bytes of any content; uint32 size }',
  write(to, { term, type, sizeBytes }) {
    count64.write(to, term, 0);
    const at = to.take(wordBytes);
    to.bytes.writeUInt32LE(entryTypeNumbers[type], at);
    to.bytes.writeUInt32LE(sizeBytes, at + 4);
  },
  read(from) {
    const term = count64.read(from, 0);
    const at = from.take(wordBytes);
    const type = entryTypeOf(from.bytes[at] ?? 0);
    if (type === undefined) throw new WireError(`entry of type ${from.bytes[at]}`);
    const sizeBytes = from.bytes.readUInt32LE(at + 4);
    if (sizeBytes === 0 || sizeBytes % wordBytes !== 0) {
      throw new WireError(`entry of ${sizeBytes} bytes`);
    }
    return { term, type, sizeBytes };
  },
  sample: (random) => ({
    term: random.int(1, 1000),
    type: entryTypes[random.int(0, entryTypes.length - 1)] ?? 'command',
    sizeBytes: wordBytes * random.int(1, 100),
  }),
};

/**
 * Rounds travel in words that other servers leave undefined: these upper 16 bits tell a round (lower 48 bits) from
 * garbage.
 */
const roundMagic = 0x6471;
const maxRound = 2 ** 48 - 1;

/** A round, or 0 for a word that holds none. Read and written with every batch: as two halves, without a BigInt. */
const roundWord: Kind<number> = {
  name: 'uint64',
  write(to, round) {
    assert(round >= 0 && round <= maxRound, 'a round has 48 bits');
    const at = to.take(wordBytes);
    const high = round === 0 ? 0 : roundMagic * 0x1_0000 + Math.floor(round / 0x1_0000_0000);
    to.bytes.writeUInt32LE(round % 0x1_0000_0000, at);
    to.bytes.writeUInt32LE(high, at + 4);
  },
  read(from) {
    const at = from.take(wordBytes);
    const high = from.bytes.readUInt32LE(at + 4);
    if (high >>> 16 !== roundMagic) return 0;
    return (high & 0xffff) * 0x1_0000_0000 + from.bytes.readUInt32LE(at);
  },
  sample: (random) => random.int(0, maxRound),
};

/** The messages between servers as their headers are laid out. */
export const peerTable = {
  requestVote: {
    type: 3,
    schemas: [0],
    doc: 'A candidate asks for a vote. Flags: 1 the leader asked for this election, 2 pre-vote. Old servers send none.',
    fields: {
      term: count64,
      candidate: uint64,
      lastIndex: count64,
      lastTerm: count64,
      flags: optional(uint64),
    },
  },
  requestVoteResult: {
    type: 4,
    schemas: [0],
    doc: 'Its answer: granted 1 or 0. Flags: 1 answers a pre-vote.',
    fields: { term: count64, granted: uint64, flags: optional(uint64) },
  },
  appendEntries: {
    type: 1,
    schemas: [0],
    doc: 'The leader replicates entries; without any it is a heartbeat. The data of the entries follow the header, back to back. The last word carries the round (see below) or anything at all.',
    fields: {
      term: count64,
      prevIndex: count64,
      prevTerm: count64,
      leaderCommit: count64,
      entries: listOf(entryHead),
      tail: optional(roundWord),
    },
  },
  appendEntriesResult: {
    type: 2,
    schemas: [0],
    doc: 'Answers AppendEntries and InstallSnapshot. `rejected` is 0 for success, else the index refused. The last word carries the round (see below), or features of which none are known.',
    fields: {
      term: count64,
      rejected: count64,
      lastIndex: count64,
      features: optional(roundWord),
    },
  },
  installSnapshot: {
    type: 5,
    schemas: [0],
    doc: 'The leader replaces the state of a follower. `dataSize` bytes of the snapshot follow the header. The last word may be absent and means nothing.',
    fields: {
      term: count64,
      lastIndex: count64,
      lastTerm: count64,
      configurationIndex: count64,
      configuration: blob,
      dataSize: count64,
      tail: optional(uint64),
    },
  },
  timeoutNow: {
    type: 6,
    schemas: [0],
    doc: 'The leader asks its successor to start an election at once.',
    fields: { term: count64, lastIndex: count64, lastTerm: count64 },
  },
} as const;

type PeerHeader = AnyMessageOf<typeof peerTable>;

/** Writes, reads and documents headers. */
export const peerHeaders = codecOf(peerTable);

const voteFlags = { disruptLeader: 1n, preVote: 2n };
const voteResultFlags = { preVote: 1n };

/**
 * The bytes of a message, in pieces: preamble and header, then for AppendEntries the data of each entry, which is
 * not copied. The bytes of a snapshot follow its header separately.
 */
export function encodePeerMessage(message: WirePeerMessage): Buffer[] {
  const header = headerOf(message);
  const to = new Writer();
  const at = to.take(peerPreambleBytes);
  to.bytes.fill(0, at, at + peerPreambleBytes);
  peerHeaders.writeBody(to, header);
  // By position, since the writer may have moved to other memory meanwhile.
  to.patchUint32(0, peerHeaders.typeOf(header.kind));
  to.patchUint32(wordBytes, to.length - peerPreambleBytes);
  const pieces = [to.takeBytes()];
  if (message.kind === 'appendEntries') {
    for (const { data } of message.entries) pieces.push(data);
  }
  return pieces;
}

/** A header, and how many bytes of entries must follow it before it makes a message. */
export interface DecodedPeerHeader {
  readonly header: PeerHeader;
  readonly payloadBytes: number;
}

/**
 * @param type the 16 bits that matter of the preamble's first word
 * @throws WireError
 */
export function decodePeerHeader(type: number, bytes: Buffer): DecodedPeerHeader {
  const from = new Reader(bytes);
  const header = peerHeaders.read(type, 0, from);
  if (header === undefined) throw new WireError(`peer message of type ${type}`);
  if (from.remaining > 0) throw new WireError(`header of ${bytes.length} bytes for ${header.kind}`);
  let payloadBytes = 0;
  if (header.kind === 'appendEntries') {
    for (const { sizeBytes } of header.entries) payloadBytes += sizeBytes;
  }
  if (payloadBytes > maxPeerPayloadBytes) throw new WireError(`payload of ${payloadBytes} bytes`);
  return { header, payloadBytes };
}

/** The message of a header other than installSnapshot's with the data of its entries, which become views of `payload`. */
export function messageOf(header: PeerHeader, payload: Buffer): WirePeerMessage {
  switch (header.kind) {
    case 'requestVote':
      return requestVoteOf(header);
    case 'requestVoteResult':
      return {
        kind: 'requestVoteResult',
        term: header.term as Term,
        granted: header.granted !== 0n,
        preVote: hasFlag(header.flags, voteResultFlags.preVote),
      };
    case 'appendEntries':
      return appendEntriesOf(header, payload);
    case 'appendEntriesResult':
      return {
        kind: 'appendEntriesResult',
        term: header.term as Term,
        rejected: header.rejected as Index,
        lastIndex: header.lastIndex as Index,
        round: header.features ?? 0,
      };
    case 'installSnapshot':
      return {
        kind: 'installSnapshot',
        term: header.term as Term,
        lastIndex: header.lastIndex as Index,
        lastTerm: header.lastTerm as Term,
        configurationIndex: header.configurationIndex as Index,
        configuration: decodeConfiguration(header.configuration),
        dataSize: header.dataSize,
      };
    case 'timeoutNow':
      return {
        kind: 'timeoutNow',
        term: header.term as Term,
        lastIndex: header.lastIndex as Index,
        lastTerm: header.lastTerm as Term,
      };
  }
}

type HeaderOf<K extends PeerHeader['kind']> = Extract<PeerHeader, { kind: K }>;

function requestVoteOf(header: HeaderOf<'requestVote'>): RequestVote {
  if (header.candidate === 0n) throw new WireError('candidate with the id 0');
  return {
    kind: 'requestVote',
    term: header.term as Term,
    candidate: header.candidate as ServerId,
    lastIndex: header.lastIndex as Index,
    lastTerm: header.lastTerm as Term,
    disruptLeader: hasFlag(header.flags, voteFlags.disruptLeader),
    preVote: hasFlag(header.flags, voteFlags.preVote),
  };
}

function appendEntriesOf(header: HeaderOf<'appendEntries'>, payload: Buffer): AppendEntries {
  let at = 0;
  const entries = header.entries.map(({ term, type, sizeBytes }, i): Entry => {
    const data = payload.subarray(at, at + sizeBytes);
    at += sizeBytes;
    const index = (header.prevIndex + 1 + i) as Index;
    return { index, term: term as Term, type, data };
  });
  return {
    kind: 'appendEntries',
    term: header.term as Term,
    prevIndex: header.prevIndex as Index,
    prevTerm: header.prevTerm as Term,
    leaderCommit: header.leaderCommit as Index,
    entries,
    round: header.tail ?? 0,
  };
}

function headerOf(message: WirePeerMessage): PeerHeader {
  switch (message.kind) {
    case 'requestVote': {
      const disruptLeader = message.disruptLeader ? voteFlags.disruptLeader : 0n;
      const preVote = message.preVote ? voteFlags.preVote : 0n;
      return { ...message, flags: disruptLeader | preVote };
    }
    case 'requestVoteResult': {
      const flags = message.preVote ? voteResultFlags.preVote : 0n;
      return { ...message, granted: message.granted ? 1n : 0n, flags };
    }
    case 'appendEntries':
      return appendEntriesHeaderOf(message);
    case 'appendEntriesResult': {
      const { kind, term, rejected, lastIndex, round } = message;
      return { kind, term, rejected, lastIndex, features: round };
    }
    case 'installSnapshot':
      return {
        ...message,
        configuration: encodeConfiguration(message.configuration),
        tail: undefined,
      };
    case 'timeoutNow':
      return message;
  }
}

/** Field by field, as for its answer: with every batch, and V8 makes no quick copy of `...message`. */
function appendEntriesHeaderOf(message: AppendEntries): HeaderOf<'appendEntries'> {
  const { kind, term, prevIndex, prevTerm, leaderCommit, round } = message;
  const entries = message.entries.map(({ term, type, data }) => {
    assert(data.length > 0 && data.length % wordBytes === 0, 'entries are whole words');
    return { term, type, sizeBytes: data.length };
  });
  return { kind, term, prevIndex, prevTerm, leaderCommit, entries, tail: round };
}

function hasFlag(flags: bigint | undefined, flag: bigint): boolean {
  return flags !== undefined && (flags & flag) !== 0n;
}
