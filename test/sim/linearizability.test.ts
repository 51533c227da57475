import t from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { checkRegister, type Operation } from './linearizability.ts';

const unknown = Number.POSITIVE_INFINITY;
const write = (value: number, calledAt: number, returnedAt: number): Operation => ({
  kind: 'write',
  value,
  calledAt,
  returnedAt,
});
const read = (value: number | undefined, calledAt: number, returnedAt: number): Operation => ({
  kind: 'read',
  value,
  calledAt,
  returnedAt,
});

const good: Record<string, Operation[]> = {
  'nothing happened': [],
  'one after another': [write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7)],
  'a read during a write may see either value': [
    write(1, 0, 10),
    read(undefined, 1, 2),
    read(1, 3, 4),
  ],
  'concurrent writes take either order': [
    write(1, 0, 10),
    write(2, 0, 10),
    read(2, 11, 12),
    read(2, 13, 14),
  ],
  'a write of unknown outcome may never take effect': [
    write(1, 0, 1),
    write(2, 2, unknown),
    read(1, 5, 6),
  ],
  'a write of unknown outcome may take effect late': [
    write(1, 0, 1),
    write(2, 2, unknown),
    read(1, 5, 6),
    read(2, 7, 8),
  ],
  'nothing there at first': [read(undefined, 0, 1), write(1, 2, 3)],
};

const bad: Record<string, Operation[]> = {
  'a stale read after the write returned': [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
  'a value that nobody wrote': [write(1, 0, 1), read(7, 2, 3)],
  'new then old': [write(1, 0, 1), write(2, 2, 20), read(2, 3, 4), read(1, 5, 6)],
  'a lost acknowledged write': [write(1, 0, 1), read(undefined, 2, 3)],
  'an unknown write that comes and goes': [
    write(1, 0, 1),
    write(2, 2, unknown),
    read(2, 5, 6),
    read(1, 7, 8),
  ],
  'two readers that disagree about the order of two writes': [
    write(1, 0, 10),
    write(2, 0, 10),
    read(1, 11, 12),
    read(2, 13, 14),
    read(1, 15, 16),
  ],
  'a read before its write was called': [read(1, 0, 1), write(1, 2, 3)],
};

t.test('histories that could have happened one at a time are linearizable', (t) => {
  for (const [name, history] of Object.entries(good)) {
    t.equal(checkRegister(history, undefined), 'linearizable', name);
  }
  t.end();
});

t.test('histories that could not are found', (t) => {
  for (const [name, history] of Object.entries(bad)) {
    t.equal(checkRegister(history, undefined), 'not linearizable', name);
  }
  t.end();
});

t.test(
  'long histories made from a real register are linearizable, and one stale read in them is found',
  (t) => {
    const wrong: string[] = [];
    for (let seed = 1; seed <= 50; seed++) {
      const history = realHistory(seed);
      if (checkRegister(history, undefined) !== 'linearizable') wrong.push(`seed ${seed}: good`);
      const spoiled = [...history, read(-1, 1e9, 1e9 + 1)];
      if (checkRegister(spoiled, undefined) !== 'not linearizable') wrong.push(`seed ${seed}: bad`);
    }
    t.strictSame(wrong, []);
    t.end();
  },
);

/** Operations that take effect at a random instant between call and return. */
function realHistory(seed: number): Operation[] {
  const random = seededRandom(seed);
  const planned = Array.from({ length: 60 }, (_, number) => {
    const calledAt = random.int(0, 1200);
    const effectAt = calledAt + random.int(1, 60);
    return {
      number,
      calledAt,
      effectAt,
      returnedAt: effectAt + random.int(1, 60),
      isWrite: random.int(0, 2) === 0,
    };
  }).sort((a, b) => a.effectAt - b.effectAt);
  let value: number | undefined;
  return planned.map(({ number, calledAt, returnedAt, isWrite }) => {
    if (!isWrite) return read(value, calledAt, returnedAt);
    value = number;
    return write(number, calledAt, random.int(0, 9) === 0 ? unknown : returnedAt);
  });
}
