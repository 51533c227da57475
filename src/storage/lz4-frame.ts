import { compressSync, uncompressSync } from 'lz4-napi';
// biome-ignore lint/correctness/noUnresolvedImports: its types declare the default export where the rule does not look
import xxhash, { type XXHash, type XXHashAPI } from 'xxhash-wasm';

/**
 * The LZ4 frame format (version 1.6.x of its description), as snapshots use it:
 *
 *   u32 magic 0x184D2204
 *   u8  FLG   version 01, independent blocks, block checksums, content size, content checksum, 0, dictionary
 *   u8  BD    largest block: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB, in bits 4-6
 *   u64 content size, if FLG says so
 *   u32 dictionary id, if FLG says so (not supported)
 *   u8  header checksum: second byte of xxh32 of FLG to here
 *   blocks { u32 length, top bit set when not compressed; data; u32 xxh32 of data, if FLG says so }
 *   u32 0
 *   u32 xxh32 of the content, if FLG says so
 *
 * We write content size and checksum always: C dqlite sizes its buffer by the former. Blocks are independent and
 * of 64 KiB, so that neither end holds more than that; all that the format allows is read.
 */
export const frameMagic = 0x184d2204;

/** Uncompressed length of the blocks we write, all but the last. */
export const frameBlockBytes = 64 * 1024;

/** Length of the header we write. */
export const frameHeaderBytes = 15;

const endMark = Buffer.alloc(4);
const flags = 0x6c;
const blockDescriptor = 0x40;
const uncompressedBit = 0x80000000;
/** How far back a linked block may refer. */
const dictionaryBytes = 64 * 1024;

/** What a frame's header says. */
export interface FrameHeader {
  readonly sizeBytes: number;
  readonly linkedBlocks: boolean;
  readonly blockChecksums: boolean;
  readonly contentChecksum: boolean;
  readonly contentSize: number | undefined;
  readonly maxBlockBytes: number;
}

let hashing: Promise<XXHashAPI> | undefined;

/** Loads xxhash once; everything else here is synchronous. */
export function loadHashing(): Promise<XXHashAPI> {
  hashing ??= xxhash();
  return hashing;
}

/** Encodes one frame piece by piece: blocks, then the end, then, knowing the size, the header before them. */
export class FrameEncoder {
  readonly #xxhash: XXHashAPI;
  readonly #content: XXHash<number>;
  #contentSize = 0;

  constructor(hash: XXHashAPI) {
    this.#xxhash = hash;
    this.#content = hash.create32();
  }

  /** How many bytes of content were encoded. */
  get contentSize(): number {
    return this.#contentSize;
  }

  /** Length word and bytes of the next block, made of at most `frameBlockBytes` bytes, which are copied. */
  block(content: Buffer): readonly [Buffer, Buffer] {
    this.#content.update(content);
    this.#contentSize += content.length;
    // The library puts the content's length before the block: our frame has no place for it.
    const compressed = compressSync(content).subarray(4);
    const word = Buffer.alloc(4);
    if (compressed.length < content.length) {
      word.writeUInt32LE(compressed.length);
      return [word, compressed];
    }
    word.writeUInt32LE((content.length | uncompressedBit) >>> 0);
    return [word, Buffer.from(content)];
  }

  /** What follows the last block. */
  end(): Buffer {
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(this.#content.digest() >>> 0);
    return Buffer.concat([endMark, checksum]);
  }

  /** What precedes the first block: to be asked for last. */
  header(): Buffer {
    const bytes = Buffer.alloc(frameHeaderBytes);
    bytes.writeUInt32LE(frameMagic, 0);
    bytes.writeUInt8(flags, 4);
    bytes.writeUInt8(blockDescriptor, 5);
    bytes.writeBigUInt64LE(BigInt(this.#contentSize), 6);
    bytes.writeUInt8(headerChecksum(this.#xxhash, bytes.subarray(4, 14)), 14);
    return bytes;
  }
}

/** What the start of a file says; a text when it is no frame header that can be read. */
export function decodeFrameHeader(hash: XXHashAPI, bytes: Buffer): FrameHeader | string {
  if (bytes.length < 7) return 'the frame is cut off in its header';
  const flg = bytes.readUInt8(4);
  const blockCode = (bytes.readUInt8(5) >>> 4) & 7;
  if (flg >>> 6 !== 1) return `unknown frame version ${flg >>> 6}`;
  if ((flg & 1) !== 0) return 'the frame needs a dictionary';
  if (blockCode < 4) return `unknown block size ${blockCode}`;
  const hasSize = (flg & 8) !== 0;
  const sizeBytes = hasSize ? 15 : 7;
  if (bytes.length < sizeBytes) return 'the frame is cut off in its header';
  if (headerChecksum(hash, bytes.subarray(4, sizeBytes - 1)) !== bytes.readUInt8(sizeBytes - 1)) {
    return 'the checksum of the frame header is wrong';
  }
  return {
    sizeBytes,
    linkedBlocks: (flg & 0x20) === 0,
    blockChecksums: (flg & 0x10) !== 0,
    contentChecksum: (flg & 4) !== 0,
    contentSize: hasSize ? Number(bytes.readBigUInt64LE(6)) : undefined,
    maxBlockBytes: 2 ** (8 + 2 * blockCode),
  };
}

/** Decodes the blocks of one frame, one after the other. */
export class FrameDecoder {
  readonly #header: FrameHeader;
  readonly #xxhash: XXHashAPI;
  readonly #content: XXHash<number>;
  /** The end of the content so far: what a linked block refers to. */
  #dictionary: Buffer = Buffer.alloc(0);
  #contentSize = 0;

  constructor(hash: XXHashAPI, header: FrameHeader) {
    this.#header = header;
    this.#xxhash = hash;
    this.#content = hash.create32();
  }

  get contentSize(): number {
    return this.#contentSize;
  }

  /**
   * The content of a block from its length word, its bytes and, where the frame has them, its checksum.
   *
   * @throws Error that says what is wrong with it.
   */
  block(word: number, bytes: Buffer, checksum: number | undefined): Buffer {
    if (checksum !== undefined && this.#xxhash.h32Raw(bytes) >>> 0 !== checksum) {
      throw new Error('the checksum of a block is wrong');
    }
    const content = isUncompressed(word) ? bytes : this.#uncompress(bytes);
    this.#content.update(content);
    this.#contentSize += content.length;
    if (this.#header.linkedBlocks) this.#remember(content);
    return content;
  }

  /** What is wrong with the whole, once its last block was decoded; `checksum` is the frame's. */
  damage(checksum: number | undefined): string | undefined {
    const { contentSize } = this.#header;
    if (contentSize !== undefined && contentSize !== this.#contentSize) {
      return `the frame holds ${this.#contentSize} bytes instead of ${contentSize}`;
    }
    if (checksum !== undefined && this.#content.digest() >>> 0 !== checksum) {
      return 'the checksum of the content is wrong';
    }
    return undefined;
  }

  #uncompress(bytes: Buffer): Buffer {
    const sized = Buffer.allocUnsafe(4 + bytes.length);
    sized.writeUInt32LE(this.#header.maxBlockBytes, 0);
    bytes.copy(sized, 4);
    return this.#dictionary.length === 0
      ? uncompressSync(sized)
      : uncompressSync(sized, this.#dictionary);
  }

  #remember(content: Buffer): void {
    this.#dictionary =
      content.length >= dictionaryBytes
        ? content.subarray(content.length - dictionaryBytes)
        : Buffer.concat([this.#dictionary.subarray(content.length - dictionaryBytes), content]);
  }
}

/** The length of a block's bytes, from its length word. */
export function blockLength(word: number): number {
  return word & ~uncompressedBit;
}

function isUncompressed(word: number): boolean {
  return word >= uncompressedBit;
}

function headerChecksum(hash: XXHashAPI, descriptor: Buffer): number {
  return (hash.h32Raw(descriptor) >>> 8) & 0xff;
}
