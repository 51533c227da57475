import type { XXHashAPI } from 'xxhash-wasm';
import type { Disk, ReadableFile } from './disk.ts';
import { StorageError } from './errors.ts';
import {
  blockLength,
  decodeFrameHeader,
  FrameDecoder,
  type FrameHeader,
  frameMagic,
  loadHashing,
} from './lz4-frame.ts';

/** What to do about a damaged snapshot; recovery falls back to an older one by itself where it can. */
const nextStep =
  'Restore the file from a copy; or remove this server from the cluster, empty the directory and let it join again';

/**
 * The data file of a snapshot: an LZ4 frame, or (from nodes with compression off) the bare content, told apart
 * by the magic number.
 */
export class SnapshotReader {
  readonly path: string;
  readonly #file: ReadableFile;
  readonly #hash: XXHashAPI;
  /** Undefined for a file that is not compressed. */
  readonly #header: FrameHeader | undefined;

  private constructor(
    path: string,
    file: ReadableFile,
    hash: XXHashAPI,
    header: FrameHeader | undefined,
  ) {
    this.path = path;
    this.#file = file;
    this.#hash = hash;
    this.#header = header;
  }

  /** @throws StorageError when the file starts like a frame but its header cannot be read. */
  static async open(disk: Disk, path: string): Promise<SnapshotReader> {
    const hash = await loadHashing();
    const file = await disk.openForReading(path);
    try {
      const start = Buffer.alloc(15);
      const bytes = start.subarray(0, await file.read(start, 0));
      if (bytes.length < 4 || bytes.readUInt32LE(0) !== frameMagic) {
        return new SnapshotReader(path, file, hash, undefined);
      }
      const header = decodeFrameHeader(hash, bytes);
      if (typeof header === 'string') throw new StorageError(path, 0, header, nextStep);
      return new SnapshotReader(path, file, hash, header);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get compressed(): boolean {
    return this.#header !== undefined;
  }

  /** Length of the content; reads all of it when the frame does not say. */
  async contentSize(): Promise<number> {
    if (this.#header === undefined) return this.#file.sizeBytes;
    return this.#header.contentSize ?? this.verify();
  }

  /** Reads and checks everything; returns the length of the content. */
  async verify(): Promise<number> {
    let size = 0;
    for await (const chunk of this.chunks()) size += chunk.length;
    return size;
  }

  /**
   * The content from its start. May be called again.
   *
   * @throws StorageError at the first damage.
   */
  chunks(): AsyncGenerator<Buffer> {
    return this.#header === undefined ? this.#bareChunks() : this.#frameChunks(this.#header);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async *#bareChunks(): AsyncGenerator<Buffer> {
    const { sizeBytes } = this.#file;
    for (let offset = 0; offset < sizeBytes; offset += readBytes) {
      yield await this.#read(offset, Math.min(readBytes, sizeBytes - offset));
    }
  }

  async *#frameChunks(header: FrameHeader): AsyncGenerator<Buffer> {
    const decoder = new FrameDecoder(this.#hash, header);
    const checksumBytes = header.blockChecksums ? 4 : 0;
    let offset = header.sizeBytes;
    let word = (await this.#read(offset, 4)).readUInt32LE(0);
    while (word !== 0) {
      const length = blockLength(word);
      if (length > header.maxBlockBytes) throw this.#damaged(offset, 'a block is too long');
      // With the length word of the next block: one read a block.
      const bytes = await this.#read(offset + 4, length + checksumBytes + 4);
      const checksum = header.blockChecksums ? bytes.readUInt32LE(length) : undefined;
      yield this.#decode(decoder, offset, word, bytes.subarray(0, length), checksum);
      offset += 4 + length + checksumBytes;
      word = bytes.readUInt32LE(length + checksumBytes);
    }
    await this.#checkEnd(header, decoder, offset + 4);
  }

  #decode(
    decoder: FrameDecoder,
    offset: number,
    word: number,
    bytes: Buffer,
    checksum: number | undefined,
  ): Buffer {
    try {
      return decoder.block(word, bytes, checksum);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      throw this.#damaged(offset, `a block cannot be decompressed (${detail})`);
    }
  }

  async #checkEnd(header: FrameHeader, decoder: FrameDecoder, offset: number): Promise<void> {
    const checksumBytes = header.contentChecksum ? 4 : 0;
    const checksum = header.contentChecksum
      ? (await this.#read(offset, checksumBytes)).readUInt32LE(0)
      : undefined;
    const what = decoder.damage(checksum);
    if (what !== undefined) throw this.#damaged(offset, what);
    if (this.#file.sizeBytes !== offset + checksumBytes) {
      throw this.#damaged(offset + checksumBytes, 'there are bytes behind the frame');
    }
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    if (offset + length > this.#file.sizeBytes) {
      throw this.#damaged(this.#file.sizeBytes, 'the file is cut off');
    }
    const bytes = Buffer.allocUnsafe(length);
    const count = await this.#file.read(bytes, offset);
    if (count < length) throw this.#damaged(offset + count, 'the file is cut off');
    return bytes;
  }

  #damaged(offset: number, what: string): StorageError {
    return new StorageError(this.path, offset, what, nextStep);
  }
}

const readBytes = 256 * 1024;
