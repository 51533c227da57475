import { Worker } from 'node:worker_threads';
import t from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { longestRecord, SharedRing } from '../../src/base/shared-ring.ts';

const into = new Float64Array(longestRecord);

function recordOf(number: number, length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => number + i / 4096);
}

function taken(ring: SharedRing): number[] | undefined {
  const length = ring.take(into);
  return length === 0 ? undefined : [...into.subarray(0, length)];
}

t.test('records come out whole and in order, whatever their lengths', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    const ring = new SharedRing();
    const reader = new SharedRing(ring.memory);
    const expected: number[][] = [];
    let refused = 0;
    for (let step = 0; step < 5000; step++) {
      // Now and then more is written than read, and the other way round.
      const writes = random.int(0, 99) < (Math.floor(step / 500) % 2 === 0 ? 90 : 10);
      if (writes) {
        const length = random.int(0, 9) === 0 ? random.int(1, longestRecord) : random.int(1, 9);
        const record = recordOf(step, length);
        if (ring.put(record, length)) expected.push([...record]);
        else refused++;
      } else {
        const [oldest] = expected;
        if (reader.first !== oldest?.[0]) t.fail(`first of seed ${seed}, step ${step}`);
        const record = taken(reader);
        if (String(record) !== String(expected.shift())) t.fail(`seed ${seed}, step ${step}`);
      }
    }
    t.ok(refused > 0, 'it was full at times');
    for (const record of expected) t.same(taken(reader), record);
    t.equal(taken(reader), undefined);
    t.equal(reader.first, undefined);
  }
  t.end();
});

t.test('a full ring takes nothing, and everything once it was read', (t) => {
  const ring = new SharedRing();
  const record = recordOf(1, longestRecord);
  let count = 0;
  while (ring.put(record, longestRecord)) count++;
  t.ok(count >= 14, 'nearly all of its memory is used');
  t.notOk(ring.put(record, longestRecord));
  for (; count > 0; count--) t.equal(ring.take(into), longestRecord);
  t.equal(ring.take(into), 0);
  t.ok(ring.put(record, longestRecord));
  t.end();
});

t.test('two threads: nothing is lost, torn or seen early', async (t) => {
  const ring = new SharedRing();
  const count = 200_000;
  const place = new URL('./ring-writer.ts', import.meta.url);
  const worker = new Worker(place, { workerData: { memory: ring.memory, count } });
  const failed = new Promise<never>((_, reject) => worker.once('error', reject));
  for (let number = 0; number < count; ) {
    const length = ring.take(into);
    if (length === 0) {
      await Promise.race([new Promise((resolve) => setImmediate(resolve)), failed]);
      continue;
    }
    if (length !== 1 + ((number * 7919) % 64)) t.fail(`${length} numbers in record ${number}`);
    if (into.subarray(0, length).some((one) => one !== number)) t.fail(`record ${number} is torn`);
    number++;
  }
  t.equal(ring.take(into), 0);
  await worker.terminate();
});
