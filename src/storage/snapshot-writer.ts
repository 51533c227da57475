import type { Disk } from './disk.ts';
import { FrameEncoder, frameBlockBytes, frameHeaderBytes, loadHashing } from './lz4-frame.ts';

/**
 * Compresses what `chunks` yields into a new file and syncs it; returns the length of the content. Holds a
 * block and the output of a few, whatever the length. When anything fails the file is removed again.
 */
export async function writeSnapshotData(
  disk: Disk,
  path: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<number> {
  const encoder = new FrameEncoder(await loadHashing());
  const file = await disk.create(path);
  let output: Buffer[] = [];
  let outputBytes = 0;
  let offset = frameHeaderBytes;

  async function emit(...pieces: readonly Buffer[]): Promise<void> {
    output.push(...pieces);
    for (const piece of pieces) outputBytes += piece.length;
    if (outputBytes >= flushBytes) await flush();
  }

  async function flush(): Promise<void> {
    await file.write(Buffer.concat(output, outputBytes), offset);
    offset += outputBytes;
    output = [];
    outputBytes = 0;
  }

  try {
    for await (const block of blocksOf(chunks)) await emit(...encoder.block(block));
    await emit(encoder.end());
    await flush();
    await file.write(encoder.header(), 0);
    await file.sync();
    return encoder.contentSize;
  } catch (error) {
    await disk.remove(path).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}

/** Written at once: a few blocks. */
const flushBytes = 256 * 1024;

/** Cuts chunks of any size into blocks. A block is valid until the next is asked for. */
async function* blocksOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const block = Buffer.alloc(frameBlockBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length; ) {
      const part = chunk.subarray(from, from + frameBlockBytes - filled);
      block.set(part, filled);
      filled += part.length;
      from += part.length;
      if (filled === frameBlockBytes) {
        yield block;
        filled = 0;
      }
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}
