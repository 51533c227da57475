/** Small pieces are copied next to each other: one allocation for many. */
const slabBytes = 64 * 1024;
let slab = Buffer.allocUnsafeSlow(slabBytes);
let slabEnd = 0;

/** A copy of these bytes of `source`, for whoever keeps them: nobody writes there again. */
export function copyToSlab(source: Buffer, start: number, end: number): Buffer {
  const count = end - start;
  if (count > slabBytes / 4) return Buffer.from(source.subarray(start, end));
  if (slabEnd + count > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    slabEnd = 0;
  }
  const target = slabEnd;
  slabEnd += count;
  source.copy(slab, target, start, end);
  return slab.subarray(target, slabEnd);
}
