import { WireError } from '../base/errors.ts';
import type { Index } from '../base/ids.ts';
import { decodeConfiguration, encodeConfiguration } from '../protocol/configuration.ts';
import type { SnapshotMeta } from '../raft/types.ts';
import { crc } from './crc.ts';
import type { SnapshotId } from './file-names.ts';

/**
 * The description of a snapshot, beside its data; term and index are in the name of the file:
 *
 *   u64 format               1
 *   u64 crc                  of everything behind it, in the low 32 bits
 *   u64 configuration index
 *   u64 length
 *   configuration            as in an entry of type change
 */
const headerBytes = 32;
const checkedFrom = 16;
const lengthLimit = 1024 * 1024;

/** Longest description there can be: nothing longer is read. */
export const snapshotMetaBytesLimit = headerBytes + lengthLimit;

/** The bytes of a `.meta` file. */
export function encodeSnapshotMeta(meta: SnapshotMeta): Buffer {
  const configuration = encodeConfiguration(meta.configuration);
  const bytes = Buffer.alloc(headerBytes + configuration.length);
  bytes.writeUInt32LE(1, 0);
  bytes.writeBigUInt64LE(BigInt(meta.configurationIndex), 16);
  bytes.writeUInt32LE(configuration.length, 24);
  configuration.copy(bytes, headerBytes);
  bytes.writeUInt32LE(crc(bytes.subarray(checkedFrom)), 8);
  return bytes;
}

/** What a `.meta` file says; a text when it is damaged. */
export function decodeSnapshotMeta(id: SnapshotId, bytes: Buffer): SnapshotMeta | string {
  if (bytes.length < headerBytes) return 'the file is cut off';
  const format = bytes.readBigUInt64LE(0);
  if (format !== 1n) return `unknown format ${format}`;
  const length = bytes.readBigUInt64LE(24);
  if (length === 0n || length > BigInt(lengthLimit)) {
    return `a configuration of ${length} bytes is not possible`;
  }
  if (BigInt(bytes.length - headerBytes) !== length) {
    return `${bytes.length} bytes instead of ${headerBytes + Number(length)}`;
  }
  if (bytes.readBigUInt64LE(8) !== BigInt(crc(bytes.subarray(checkedFrom)))) {
    return 'the checksum is wrong';
  }
  try {
    return {
      index: id.index,
      term: id.term,
      configuration: decodeConfiguration(bytes.subarray(headerBytes)),
      configurationIndex: Number(bytes.readBigUInt64LE(16)) as Index,
    };
  } catch (error) {
    if (error instanceof WireError) return `the configuration is damaged (${error.message})`;
    throw error;
  }
}
