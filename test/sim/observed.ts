import { describeTransition } from '../../src/raft/describe.ts';
import type { Transition } from '../../src/raft/events.ts';
import type { RaftStore, StateMachine } from '../../src/raft/ports.ts';
import type { ServerId, SnapshotData } from '../../src/raft/types.ts';
import type { HostClock } from './host-clock.ts';
import type { Surroundings } from './surroundings.ts';

/** What is watched on a host. */
export interface Watch {
  readonly id: ServerId;
  readonly around: Surroundings;
  /** What is thrown in here ends the run, whoever may be there to catch it. */
  readonly check: (run: () => void) => void;
}

/** The store, with a checker that hears of everything that it promises. */
export function observedStore(store: RaftStore, { id, around, check }: Watch): RaftStore {
  const { checkers } = around;
  return {
    ...(store.space === undefined ? {} : { space: store.space }),
    load: async () => {
      const loaded = await store.load();
      around.log(id, () => `loaded ${loaded.entries.length} entries, term ${loaded.vote.term}`);
      checkers.loaded(id, loaded);
      return loaded;
    },
    persist: async (write) => {
      around.persisting(id, write);
      checkers.persisting(id, write);
      await store.persist(write);
      around.log(id, () => `durable: write ${write.write}`);
      checkers.persisted(id, write.write);
    },
    writeSnapshot: async (snapshot) => {
      await store.writeSnapshot(snapshot);
      around.log(id, () => `snapshot of ${snapshot.meta.index} is on disk`);
      // The driver lives with a snapshot that fails: a violation must not be taken for one.
      check(() => checkers.snapshotWritten(id, snapshot.meta));
    },
    openSnapshot: (meta) => {
      around.shipping(id, meta);
      return store.openSnapshot(meta);
    },
    receiveSnapshot: (meta, chunks) => {
      around.receiving(id, meta);
      return store.receiveSnapshot(meta, chunks);
    },
    close: () => store.close(),
  };
}

/** What Raft drives, as Raft drives it: the rules of consensus are checked here. */
export function observedByRaft(
  machine: StateMachine,
  { id, around }: Watch,
  onTransition: (transition: Transition) => void,
): StateMachine {
  const { checkers } = around;
  let leads = false;
  return {
    apply: (entries) => {
      around.applying(id, entries);
      checkers.applied(id, entries);
      machine.apply(entries);
    },
    transition: (transition) => {
      around.log(id, () => describeTransition(transition));
      checkers.transition(id, transition);
      onTransition(transition);
      machine.transition(transition);
      const led = leads;
      leads = transition.state === 'leader';
      if (leads && !led) around.elected(id);
    },
    takeSnapshot: () => machine.takeSnapshot(),
    restore: (snapshot) => machine.restore(snapshot),
  };
}

/**
 * The same machine where it is: what is applied here is acknowledged from here on. Snapshots take their time, each its
 * own, so that the one before may be the last to be read.
 */
export function observedOnMain(
  machine: StateMachine,
  { id, around }: Watch,
  clock: HostClock,
  restoreMs: () => number,
): StateMachine {
  return {
    apply: (entries) => {
      around.checkers.acknowledged(entries);
      machine.apply(entries);
      around.applied(id);
    },
    transition: (transition) => machine.transition(transition),
    takeSnapshot: () => machine.takeSnapshot(),
    restore: async ({ meta, data }) => {
      await machine.restore({ meta, data: slowly(data, clock, restoreMs()) });
      around.restored(id, meta);
    },
  };
}

function slowly(data: SnapshotData, clock: HostClock, restoreMs: number): SnapshotData {
  return {
    sizeBytes: data.sizeBytes,
    async *chunks() {
      if (restoreMs > 0) await new Promise<void>((resolve) => clock.after(restoreMs, resolve));
      yield* data.chunks();
    },
    release: () => data.release(),
  };
}
