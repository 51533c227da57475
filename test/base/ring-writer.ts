/** Thread of shared-ring.test.ts: writes as many records as it is told, as fast as there is room. */
import { workerData } from 'node:worker_threads';
import { longestRecord, SharedRing } from '../../src/base/shared-ring.ts';

const { memory, count } = workerData as {
  readonly memory: SharedArrayBuffer;
  readonly count: number;
};
const ring = new SharedRing(memory);
const record = new Float64Array(longestRecord);
for (let number = 0; number < count; number++) {
  const length = 1 + ((number * 7919) % 64);
  record.fill(number, 0, length);
  while (!ring.put(record, length));
}
