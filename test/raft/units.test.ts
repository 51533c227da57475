import t from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { encodeConfiguration } from '../../src/protocol/configuration.ts';
import { Log } from '../../src/raft/log.ts';
import { raftOptions } from '../../src/raft/options.ts';
import { Progress } from '../../src/raft/progress.ts';
import { majority, reachedByMajority } from '../../src/raft/quorum.ts';
import { Rounds } from '../../src/raft/rounds.ts';
import type { Entry, Role, SnapshotMeta } from '../../src/raft/types.ts';
import { id, index, instant, members, term } from './cluster.ts';

const unlimited = Number.POSITIVE_INFINITY;

t.test('a majority is more than half', (t) => {
  t.same([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
  t.end();
});

t.test('what a majority has reached is the median, whatever the order', (t) => {
  t.equal(reachedByMajority([3, 3, 1]), 3);
  t.equal(reachedByMajority([1, 3, 1]), 1);
  t.equal(reachedByMajority([5, 1, 4, 2, 3]), 3);
  t.equal(reachedByMajority([4, 1, 2, 3]), 2);
  t.equal(reachedByMajority([7]), 7);
  t.equal(reachedByMajority([]), Number.NEGATIVE_INFINITY, 'nobody has reached nothing');
  t.end();
});

t.test('what a majority has reached is what counting says', (t) => {
  const random = seededRandom(5);
  let wrong = 0;
  for (let round = 0; round < 2000; round++) {
    const values = Array.from({ length: random.int(1, 7) }, () => random.int(0, 6));
    const reached = reachedByMajority(values);
    const have = (value: number) => values.filter((other) => other >= value).length;
    if (have(reached) < majority(values.length)) wrong++;
    if (have(reached + 1) >= majority(values.length)) wrong++;
  }
  t.equal(wrong, 0);
  t.end();
});

function entry(at: number, inTerm: number, type: Entry['type'] = 'command', bytes = 8): Entry {
  return { index: index(at), term: term(inTerm), type, data: Buffer.alloc(bytes) };
}

function change(at: number, inTerm: number, roles: Record<number, Role>): Entry {
  return { ...entry(at, inTerm), type: 'change', data: encodeConfiguration(members(roles)) };
}

function meta(at: number, inTerm: number): SnapshotMeta {
  const configuration = members({ 1: 'voter' });
  return { index: index(at), term: term(inTerm), configuration, configurationIndex: index(1) };
}

t.test('an empty log ends at index 0 in term 0', (t) => {
  const log = new Log(undefined, []);
  t.same([log.firstIndex, log.lastIndex, log.lastTerm, log.durableIndex], [1, 0, 0, 0]);
  t.equal(log.termAt(index(0)), 0);
  t.equal(log.termAt(index(1)), undefined);
  t.same(log.configuration.configuration.servers, []);
  t.end();
});

t.test('a log knows terms back to its snapshot, and no further', (t) => {
  const log = new Log(meta(10, 3), [entry(9, 2), entry(10, 3), entry(11, 3)]);
  t.same(
    [8, 9, 10, 11, 12].map((at) => log.termAt(index(at))),
    [undefined, 2, 3, 3, undefined],
  );

  const bare = new Log(meta(10, 3), []);
  t.same([bare.firstIndex, bare.lastIndex, bare.lastTerm], [11, 10, 3]);
  t.end();
});

t.test('entries left over from before an installed snapshot are not part of the log', (t) => {
  const log = new Log(meta(10, 3), [entry(1, 1), entry(2, 1)]);
  t.same([log.firstIndex, log.lastIndex], [11, 10]);
  t.end();
});

t.test(
  'the configuration in force is the newest in the log; removing it brings back the one before',
  (t) => {
    const log = new Log(undefined, [change(1, 1, { 1: 'voter' }), entry(2, 1)]);
    log.append(change(3, 1, { 1: 'voter', 2: 'spare' }));
    t.equal(log.configuration.index, 3);
    t.equal(log.configurationAt(index(2)).index, 1);
    log.truncateFrom(index(3));
    t.equal(log.configuration.index, 1);
    t.equal(log.configuration.configuration.servers.length, 1);
    t.end();
  },
);

t.test('a snapshot keeps the configuration that it covers, and newer ones', (t) => {
  const log = new Log(undefined, [change(1, 1, { 1: 'voter' }), entry(2, 1), entry(3, 1)]);
  log.append(change(4, 1, { 1: 'voter', 2: 'spare' }));
  log.compact(meta(3, 1), 0, unlimited);
  t.equal(log.firstIndex, 4);
  t.equal(log.configurationAt(index(3)).index, 1);
  t.equal(log.configuration.index, 4);
  log.truncateFrom(index(4));
  t.equal(log.configuration.index, 1);
  t.end();
});

t.test('compaction keeps as many entries before the snapshot as it is told', (t) => {
  const log = new Log(
    undefined,
    [1, 2, 3, 4, 5, 6].map((at) => entry(at, 1)),
  );
  log.compact(meta(5, 1), 2, unlimited);
  t.equal(log.firstIndex, 4);
  log.compact(meta(6, 1), 9, unlimited);
  t.equal(log.firstIndex, 4, 'what is gone does not come back');
  t.equal(log.lastIndex, 6);
  t.end();
});

t.test('compaction keeps no more bytes before the snapshot than it is told', (t) => {
  const log = new Log(
    undefined,
    [1, 2, 3, 4, 5, 6].map((at) => entry(at, 1)),
  );
  const entryBytes = log.entry(index(1)).data.length;
  t.equal(log.bytesBehindSnapshot, 6 * entryBytes);
  log.compact(meta(5, 1), 9, 2 * entryBytes);
  t.equal(log.firstIndex, 4);
  t.equal(log.bytesBehindSnapshot, entryBytes);
  log.truncateFrom(index(6));
  t.equal(log.bytesBehindSnapshot, 0);
  t.end();
});

t.test('an entry is durable once its write is, unless it was replaced meanwhile', (t) => {
  const log = new Log(undefined, [entry(1, 1)]);
  log.append(entry(2, 1));
  log.append(entry(3, 1));
  log.writing(1);
  log.append(entry(4, 1));
  log.writing(2);
  log.truncateFrom(index(3));
  log.append(entry(3, 2));
  log.writing(3);
  t.equal(log.durableIndex, 1);
  log.written(1);
  t.equal(log.durableIndex, 2, 'entry 3 of term 2 is not on disk');
  log.written(2);
  t.equal(log.durableIndex, 2);
  log.written(3);
  t.equal(log.durableIndex, 3);
  t.end();
});

t.test('replacing durable entries takes them out of what is durable', (t) => {
  const log = new Log(undefined, [entry(1, 1), entry(2, 1)]);
  log.truncateFrom(index(2));
  t.equal(log.durableIndex, 1);
  log.resetTo(meta(9, 2));
  t.equal(log.durableIndex, 0, 'an installed snapshot is durable once it is written');
  log.writing(1);
  log.written(1);
  t.equal(log.durableIndex, 9);
  t.end();
});

t.test('a slice is bounded in entries and bytes, but never empty', (t) => {
  const log = new Log(
    undefined,
    [1, 2, 3, 4].map((at) => entry(at, 1, 'command', 16)),
  );
  const sizes = (from: number, entries: number, bytes: number) =>
    log.slice(index(from), entries, bytes).map((one) => one.index as number);
  t.same(sizes(1, 9, 999), [1, 2, 3, 4]);
  t.same(sizes(2, 2, 999), [2, 3]);
  t.same(sizes(1, 9, 40), [1, 2]);
  t.same(sizes(1, 9, 8), [1]);
  t.same(sizes(5, 9, 999), []);
  t.end();
});

t.test('a disagreeing log hints at an entry that a leader of that term could have', (t) => {
  const log = new Log(
    undefined,
    [1, 1, 2, 4, 4].map((inTerm, i) => entry(i + 1, inTerm)),
  );
  t.equal(log.agreeableIndex(index(9), term(4)), 5, 'the end of a short log');
  t.equal(log.agreeableIndex(index(5), term(3)), 3, 'not its entries of term 4');
  t.equal(log.agreeableIndex(index(5), term(4)), 4, 'always before the question');
  t.equal(log.agreeableIndex(index(1), term(1)), 0);
  t.end();
});

t.test('rounds are remembered for as long as there is room', (t) => {
  const rounds = new Rounds();
  t.equal(rounds.startedAt(0), undefined);
  for (let n = 1; n <= 5000; n++) rounds.begin(instant(n * 10), index(n));
  t.equal(rounds.startedAt(5000), 50_000);
  t.equal(rounds.startedAt(905), 9050);
  t.equal(rounds.startedAt(904), undefined, 'forgotten');
  t.equal(rounds.startedAt(5001), undefined, 'not begun');
  t.end();
});

t.test(
  'who holds an entry got it in the newest round that is older than the entry, or later',
  (t) => {
    const rounds = new Rounds();
    for (const last of [5, 5, 7, 9]) rounds.begin(instant(0), index(last));
    t.same(
      [4, 5, 6, 7, 8, 9, 10].map((at) => rounds.newestBefore(index(at))),
      [0, 0, 2, 2, 3, 3, 4],
    );
    t.end();
  },
);

function follower(): { progress: Progress; rounds: Rounds } {
  return { progress: new Progress(index(6), instant(0)), rounds: new Rounds() };
}

t.test('an echoed round proves contact when the round began', (t) => {
  const { progress, rounds } = follower();
  rounds.begin(instant(10), index(5));
  rounds.begin(instant(20), index(5));
  progress.answered(instant(30), 1, index(0), rounds);
  t.same([progress.contactRound, progress.contactAt], [1, 10]);
  progress.answered(instant(31), 2, index(0), rounds);
  progress.answered(instant(32), 1, index(0), rounds);
  t.same(
    [progress.contactRound, progress.contactAt],
    [2, 20],
    'an older answer takes nothing back',
  );
  progress.answered(instant(33), 3, index(0), rounds);
  t.equal(progress.contactRound, 2, 'a round that never began proves nothing');
  t.end();
});

t.test('without rounds, one answer more than was owed proves contact', (t) => {
  const { progress, rounds } = follower();
  const send = (at: number) => progress.sent(instant(at), rounds.begin(instant(at), index(5)));
  send(10);
  t.equal(progress.contactAt, Number.NEGATIVE_INFINITY);
  progress.answered(instant(11), 0, index(0), rounds);
  t.equal(progress.contactAt, 10);
  send(20);
  send(30);
  const read = rounds.begin(instant(40), index(5));
  progress.probeFrom(read, instant(40));
  progress.sent(instant(40), read);
  progress.answered(instant(41), 0, index(0), rounds);
  progress.answered(instant(42), 0, index(0), rounds);
  t.ok(progress.contactRound < read, 'both may answer what was sent before');
  progress.answered(instant(43), 0, index(0), rounds);
  t.equal(progress.contactRound, read);
  t.end();
});

t.test('lost answers are made up for by asking more at once', (t) => {
  const { progress, rounds } = follower();
  for (let n = 0; n < 30; n++) progress.sent(instant(n), rounds.begin(instant(n), index(5)));
  progress.probeFrom(rounds.begin(instant(100), index(5)), instant(100));
  t.equal(progress.burst(instant(149), 50), 1, 'not at once');
  t.equal(progress.burst(instant(150), 50), 16, 'and with a limit');
  progress.answered(instant(151), 1, index(0), rounds);
  t.equal(progress.burst(instant(200), 50), 1, 'never where rounds are echoed');
  t.end();
});

t.test('the window is full with so many messages or so many bytes', (t) => {
  const options = raftOptions({ id: id(1), maxInflightMessages: 2, maxInflightBytes: 100 });
  const { progress } = follower();
  progress.reach(index(5), instant(0));
  progress.becomePipeline();
  t.ok(progress.hasRoom(options));
  progress.addInflight(index(6), 10, instant(1));
  progress.addInflight(index(8), 10, instant(2));
  t.notOk(progress.hasRoom(options));
  t.equal(progress.next, 9);
  progress.reach(index(7), instant(5));
  t.ok(progress.hasRoom(options), 'the first was answered');
  t.equal(progress.answerMs, 4, 'which took so long');
  progress.addInflight(index(9), 90, instant(6));
  t.notOk(progress.hasRoom(options));
  progress.reach(index(9), instant(14));
  t.ok(progress.hasRoom(options));
  t.equal(progress.answerMs, 4.5, 'of the newest that an answer covers, smoothed');
  t.end();
});

t.test('after a broken link sending goes on behind what is known, or where it was', (t) => {
  const { progress } = follower();
  progress.becomeUnreachable();
  t.equal(progress.next, 6, 'nothing is known: the question stays');
  progress.reach(index(5), instant(0));
  progress.becomePipeline();
  progress.addInflight(index(20), 10, instant(1));
  progress.becomeUnreachable();
  t.equal(progress.next, 6);
  t.notOk(progress.reachable);
  t.end();
});
