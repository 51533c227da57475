import t from 'tap';
import type { PeerMessage } from '../../src/raft/messages.ts';
import type { Directive } from '../support/datadriven.ts';
import { ScriptedCluster } from './scripted-cluster.ts';

/**
 * Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)", 2014, and
 * Ongaro's dissertation "Consensus: Bridging Theory and Practice", 2014: each test quotes what it checks.
 */
class Cluster {
  readonly #script = new ScriptedCluster();

  /** Runs lines of a script as in test/raft/interaction; answers with what the last one says. */
  run(...lines: string[]): string {
    let answer = '';
    for (const line of lines) answer = this.#script.run(directive(line));
    return answer;
  }
}

function directive(line: string): Directive {
  const [command = '', ...words] = line.split(' ');
  const pairs = words.filter((word) => word.includes('='));
  return {
    command,
    args: words.filter((word) => !word.includes('=')),
    options: Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string])),
    input: '',
  };
}

/** Server 1 of three leads in term 2, its barrier is entry 2, everybody knows. */
function led(): Cluster {
  const cluster = new Cluster();
  cluster.run('add-nodes 3', 'campaign 1', 'stabilize', 'advance 100', 'stabilize');
  return cluster;
}

const kinds: Record<PeerMessage['kind'], string> = {
  requestVote: 'term=3 last=9 lastTerm=9',
  requestVoteResult: 'term=3',
  appendEntries: 'term=3 prev=2 prevTerm=2',
  appendEntriesResult: 'term=3 last=2',
  installSnapshot: '',
  timeoutNow: 'term=3 last=2 lastTerm=2',
};

// §5.1: "If one server's current term is smaller than the other's, then it updates its current term to the
// larger value. If a candidate or leader discovers that its term is out of date, it immediately reverts to
// follower state."
t.test('a larger term is adopted from every message, and a leader becomes a follower', (t) => {
  for (const [kind, fields] of Object.entries(kinds)) {
    if (kind === 'installSnapshot') continue;
    const cluster = led();
    // A leader looks at the term of a vote request only when it asked for the election itself (§4.2.3).
    const disrupt = kind === 'requestVote' ? ' disrupt=yes' : '';
    const said = cluster.run(`receive 1 ${kind} from=2 ${fields}${disrupt}`);
    t.match(said, /persist \d+: term=3/, kind);
    t.match(said, /now follower term=3/, kind);
  }
  t.end();
});

// §5.1: "If a server receives a request with a stale term number, it rejects the request."
t.test('requests of a stale term are rejected, with the current term', (t) => {
  const cluster = led();
  t.match(
    cluster.run('receive 2 appendEntries from=3 term=1 prev=2 prevTerm=2 round=7'),
    /send 3 <- appendEntriesResult term=2 rejected=2 last=2 round=0/,
    'nor is its round echoed, which was numbered in another leadership',
  );
  t.match(
    cluster.run('receive 2 requestVote from=3 term=1 last=9 lastTerm=9 disrupt=yes'),
    /send 3 <- requestVoteResult term=2 refused/,
  );
  t.end();
});

// §5.2: "When servers start up, they begin as followers."
t.test('servers start as followers', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 3');
  t.match(cluster.run('status'), /1: follower.*\n2: follower.*\n3: follower/);
  t.end();
});

// §5.2: "To begin an election, a follower increments its current term and transitions to candidate state. It
// then votes for itself and issues RequestVote RPCs in parallel to each of the other servers in the cluster."
// Figure 2: "Updated on stable storage before responding to RPCs".
t.test('a candidate is durable in its new term and its own vote before it asks for others', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 3', 'campaign 1', 'deliver kind=requestVote');
  const said = cluster.run('deliver kind=requestVoteResult');
  t.match(
    said,
    /persist 1: term=2 vote=1\n {6}then send 2 <- requestVote term=2.*\n {6}then send 3/,
  );
  t.notMatch(said, /^ {4}send/m);
  t.end();
});

// §5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis".
t.test('one vote in a term, the first that is asked for; again to the same candidate', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 3');
  const ask = (from: number) =>
    cluster.run(`receive 3 requestVote from=${from} term=2 last=1 lastTerm=1 disrupt=yes`);
  t.match(ask(1), /granted/);
  t.match(ask(2), /refused/);
  t.match(ask(1), /granted/);
  t.end();
});

// §5.2: "A candidate wins an election if it receives votes from a majority of the servers in the full cluster
// for the same term."
t.test('votes of a majority, of the same term, and of different servers make a leader', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 5', 'campaign 1', 'drop');
  for (const from of [2, 3]) {
    cluster.run(`receive 1 requestVoteResult from=${from} term=2 granted=yes preVote=yes`);
  }
  cluster.run('write 1');
  const vote = (from: number, term = 2) =>
    cluster.run(`receive 1 requestVoteResult from=${from} term=${term} granted=yes`);
  t.notMatch(vote(2), /leader/);
  t.notMatch(vote(2), /now leader/, 'the same vote twice');
  t.notMatch(vote(3, 1), /now leader/, 'a vote of an older term');
  t.notMatch(vote(9), /now leader/, 'a vote of a stranger');
  t.match(vote(3), /now leader term=2/);
  t.end();
});

// §5.2: "If the leader's term (included in its RPC) is at least as large as the candidate's current term, then
// the candidate recognizes the leader as legitimate and returns to follower state. If the term in the RPC is
// smaller than the candidate's current term, then the candidate rejects the RPC and continues in candidate
// state."
t.test('a candidate yields to a leader of its term, not to one of a smaller term', (t) => {
  const candidate = () => {
    const cluster = new Cluster();
    cluster.run('add-nodes 3', 'campaign 1', 'deliver kind=requestVote');
    cluster.run('deliver kind=requestVoteResult', 'write 1');
    return cluster;
  };
  const said = candidate().run('receive 1 appendEntries from=2 term=2 prev=1 prevTerm=1');
  t.match(said, /now follower term=2 leader=2/);
  const cluster = candidate();
  t.match(cluster.run('receive 1 appendEntries from=2 term=1 prev=1 prevTerm=1'), /rejected=1/);
  t.match(cluster.run('status'), /1: candidate term=2/);
  t.end();
});

// §5.5: "Raft RPCs are idempotent, so this causes no harm."
t.test('a message that comes twice changes nothing the second time', (t) => {
  const cluster = led();
  const entry = 'receive 2 appendEntries from=1 term=2 prev=2 prevTerm=2 entries=2,2 round=4';
  t.match(cluster.run(entry), /append \[3\/2 command 8B, 4\/2 command 8B\]/);
  t.notMatch(cluster.run(entry), /persist|apply/);
  t.end();
});

// §5.3: "If the follower does not find an entry in its log with the same index and term, then it refuses the new
// entries."
t.test('entries are refused unless the one before them is there, in the same term', (t) => {
  const cluster = led();
  const append = (prev: string) =>
    cluster.run(`receive 2 appendEntries from=1 term=2 ${prev} entries=2`);
  t.match(append('prev=5 prevTerm=2'), /rejected=5 last=2/);
  cluster.run('receive 2 appendEntries from=1 term=2 prev=2 prevTerm=2 entries=2');
  t.match(append('prev=3 prevTerm=1'), /rejected=3/);
  t.end();
});

// Figure 2: "If an existing entry conflicts with a new one (same index but different terms), delete the existing
// entry and all that follow it". "If": an older message must not cut off what came after it.
t.test('only a conflict truncates the log', (t) => {
  const cluster = led();
  cluster.run('receive 2 appendEntries from=1 term=2 prev=2 prevTerm=2 entries=2,2,2');
  const older = cluster.run('receive 2 appendEntries from=1 term=2 prev=2 prevTerm=2 entries=2');
  t.notMatch(older, /truncate/);
  const newer = cluster.run('receive 2 appendEntries from=3 term=3 prev=3 prevTerm=2 entries=3');
  t.match(newer, /truncate from 4, append \[4\/3 command 8B\]/);
  t.end();
});

// Figure 2: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)".
t.test('a follower commits no further than the entries that the message vouches for', (t) => {
  const cluster = led();
  cluster.run('receive 2 appendEntries from=1 term=2 prev=2 prevTerm=2 entries=2,2,2', 'write 2');
  const said = cluster.run('receive 2 appendEntries from=3 term=3 prev=3 prevTerm=2 commit=5');
  t.match(said, /apply 3\/2/);
  t.notMatch(said, /apply 4\/2/, 'entries 4 and 5 may not be those of leader 3');
  t.end();
});

// §5.3: "A log entry is committed once the leader that created the entry has replicated it on a majority of the
// servers". §5.4.2: "Only log entries from the leader's current term are committed by counting replicas".
t.test('an entry commits with a majority, in the order of the log', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 5', 'campaign 1', 'stabilize', 'propose 1 a b c', 'write 1', 'drop');
  const answer = (from: number, last: number) =>
    cluster.run(`receive 1 appendEntriesResult from=${from} term=2 last=${last} round=1`);
  t.notMatch(answer(2, 5), /apply/);
  t.match(answer(3, 3), /apply 3\/2/, 'the median of 5, 5, 3, 2, 2');
  t.match(answer(4, 4), /apply 4\/2/, 'the median of 5, 5, 4, 3, 2');
  t.end();
});

// §5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate".
t.test(
  'a vote needs a log that is at least as up-to-date: the last term counts, then the length',
  (t) => {
    const ask = (lastIndex: number, lastTerm: number) => {
      const cluster = led();
      const log = `last=${lastIndex} lastTerm=${lastTerm}`;
      const said = cluster.run(`receive 2 requestVote from=3 term=3 ${log} disrupt=yes`);
      return /granted/.test(said);
    };
    t.notOk(ask(1, 1));
    t.notOk(ask(9, 1), 'longer, but of an older term');
    t.notOk(ask(1, 2), 'shorter');
    t.ok(ask(2, 2), 'the same');
    t.ok(ask(3, 2), 'longer');
    t.ok(ask(1, 3), 'shorter, but of a later term');
    t.end();
  },
);

// §5.2: "To prevent split votes in the first place, election timeouts are chosen randomly from a fixed interval".
t.test('election timeouts are spread over [T, 2T)', (t) => {
  const seen = new Set<number>();
  for (let run = 0; run < 20; run++) {
    const cluster = new Cluster();
    cluster.run('add-nodes 3');
    for (let crash = 0; crash < run; crash++) cluster.run('crash 1', 'restart 1');
    let waited = 0;
    while (!/1: preCandidate/.test(cluster.run('status')) && waited < 3000) {
      cluster.run('crash 2', 'crash 3', 'advance 50', 'restart 2', 'restart 3');
      waited += 50;
    }
    t.ok(waited >= 1000 && waited <= 2050, `after ${waited} ms`);
    seen.add(waited);
  }
  t.ok(seen.size > 5, 'not always the same');
  t.end();
});

// §6: "a server always uses the latest configuration in its log, regardless of whether the entry is committed".
t.test('a configuration counts as soon as it is in the log', (t) => {
  const cluster = led();
  t.match(cluster.run('change 1 add 4'), /members: 1 voter, 2 voter, 3 voter, 4 spare/);
  t.match(cluster.run('deliver to=2'), /now follower .* 4 spare/);
  t.end();
});

// §6: "servers disregard RequestVote RPCs when they believe a current leader exists. Specifically, if a server
// receives a RequestVote RPC within the minimum election timeout of hearing from a current leader, it does not
// update its term or grant its vote."
t.test('votes are refused for the minimum election timeout after the leader was heard', (t) => {
  const cluster = led();
  const ask = () => cluster.run('receive 2 requestVote from=3 term=3 last=2 lastTerm=2');
  t.match(ask(), /send 3 <- requestVoteResult term=2 refused/);
  cluster.run('partition 1 2 3', 'advance 999');
  t.match(ask(), /refused/);
  cluster.run('advance 1');
  t.match(ask(), /granted/);
  t.end();
});

// §7: "Usually the snapshot will contain new information not already in the recipient's log. In this case, the
// follower discards its entire log". "If instead the follower receives a snapshot that describes a prefix of its
// log ... then log entries covered by the snapshot are deleted but entries following the snapshot are still
// valid and must be retained".
t.test('a snapshot of new information replaces the log; one of a prefix leaves it alone', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 2 snapshotThreshold=4 snapshotTrailing=0', 'campaign 1', 'stabilize');
  cluster.run('propose 1 a b c d', 'stabilize', 'snapshot 1');
  t.match(cluster.run('snapshot-again 2'), /accepted last=6[\s\S]*discard/);
  cluster.run('add-empty 3');
  t.match(
    cluster.run('snapshot-again 3'),
    /persist 1: term=2 vote=none, snapshot=6\/2[\s\S]*restore 6\/2/,
  );
  t.end();
});

// §8: "Raft handles this by having each leader commit a blank no-op entry into the log at the start of its term."
t.test('a leader starts with an entry of its own, and reads wait for it', (t) => {
  const cluster = new Cluster();
  cluster.run('add-nodes 3', 'campaign 1', 'deliver kind=requestVote');
  cluster.run('deliver kind=requestVoteResult', 'write 1', 'deliver kind=requestVote', 'write 2');
  t.match(cluster.run('deliver to=1 from=2'), /append \[2\/2 barrier 8B\]/);
  t.notMatch(cluster.run('read 1'), /settle/);
  t.match(cluster.run('stabilize'), /settle 1: done at 2/);
  t.end();
});

// Dissertation, §3.10: "the prior leader sends its log entries to the target server, then the target server runs an
// election without waiting for the election timeout to elapse."
t.test('a leadership transfer waits for the log of its target', (t) => {
  const cluster = led();
  cluster.run('propose 1 a', 'drop to=3');
  t.notMatch(cluster.run('transfer 1 to=3'), /timeoutNow/);
  cluster.run('advance 100');
  t.match(cluster.run('stabilize'), /timeoutNow term=2 last=3\/2[\s\S]*now leader term=3 leader=3/);
  t.end();
});

// Dissertation, §9.6: "a candidate only increments its term if it first learns from a majority of the cluster that
// they would be willing to grant the candidate their votes".
t.test('a pre-vote that is not won costs no term', (t) => {
  const cluster = led();
  cluster.run('partition 3 1,2');
  t.notMatch(cluster.run('live 9000'), /term=3/);
  t.end();
});
