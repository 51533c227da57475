import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Random } from '../../src/base/random.ts';
import type { Consensus } from '../../src/gateway/consensus.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { defaultSessionLimits } from '../../src/gateway/limits.ts';
import { pageBytes } from '../../src/protocol/commands.ts';
import type { Applied, Transition } from '../../src/raft/events.ts';
import type { ServerId, Snapshot, SnapshotData } from '../../src/raft/types.ts';
import { instantiateSqliteWasm } from '../../src/sql/engines/sqlite-wasm.ts';
import { WasmEngine } from '../../src/sql/engines/wasm-engine.ts';
import { SqlStateMachine } from '../../src/sql/state-machine.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import { mix } from './chain.ts';
import type { HostClock } from './host-clock.ts';
import type { Service } from './service.ts';

/** The real thing in one process: page store, SQL state machine, engine, gateway. Sessions are served by `gateway`. */
export class SqlService implements Service {
  readonly chain = undefined;
  readonly #id: ServerId;
  readonly #clock: HostClock;
  readonly #random: Random;
  readonly #stopped: (reason: string) => void;
  readonly #store = new PageStore();
  readonly #machine: SqlStateMachine;
  #gateway: Gateway | undefined;

  /** @param stopped called when the machine or the engine cannot go on, which must not happen */
  constructor(id: ServerId, clock: HostClock, random: Random, stopped: (reason: string) => void) {
    this.#id = id;
    this.#clock = clock;
    this.#random = random;
    this.#stopped = stopped;
    this.#machine = new SqlStateMachine({
      clock,
      store: this.#store,
      limits: {
        maxDatabases: 4,
        maxSpeculativeTransactions: random.int(1, 20),
        maxSpeculativePages: 1000,
      },
      onStopped: stopped,
    });
  }

  attach(consensus: Consensus): void {
    this.#gateway = new Gateway({
      machine: this.#machine,
      consensus,
      clock: this.#clock,
      limits: { ...defaultSessionLimits, busyTimeoutMs: 200, idleTransactionTimeoutMs: 150 },
      engine: this.#createEngine(),
      replaceEngine: async (cause) => {
        this.#stopped(`the engine failed: ${String(cause)}`);
        return this.#createEngine();
      },
      server: { id: this.#id, failureDomain: 0n },
      onSlowStatement: () => {},
    });
  }

  get gateway(): Gateway | undefined {
    return this.#gateway;
  }

  get index(): number {
    return this.#machine.appliedIndex;
  }

  get restoring(): boolean {
    return this.#machine.restoring;
  }

  get leadingTerm() {
    return this.#machine.leadingTerm;
  }

  image(): string {
    const images: string[] = [];
    const page = Buffer.alloc(pageBytes);
    for (const [name, { database, replicated }] of this.#machine.replicas) {
      if (!replicated) continue;
      const image = database.pinCommitted();
      let hash = 0;
      for (let number = 1; number <= image.pageCount; number++) {
        image.copyPage(number, page, 0);
        for (let at = 0; at < pageBytes; at += 4) hash = mix(hash, page.readInt32LE(at));
      }
      images.push(`${name} ${image.pageCount} ${hash}`);
      image.release();
    }
    return images.sort().join(', ');
  }

  apply(entries: readonly Applied[]): void {
    this.#machine.apply(entries);
  }

  transition(transition: Transition): void {
    this.#machine.transition(transition);
  }

  takeSnapshot(): SnapshotData {
    return this.#machine.takeSnapshot();
  }

  restore(snapshot: Snapshot): Promise<void> {
    return this.#machine.restore(snapshot);
  }

  #createEngine(): WasmEngine {
    const host = {
      wallClockMs: () => 1_700_000_000_000 + this.#clock.now(),
      randomBytes: (target: Uint8Array) => {
        for (let at = 0; at < target.length; at++) target[at] = this.#random.int(0, 255);
      },
    };
    return new WasmEngine(instantiateSqliteWasm(sqlite(), host), { store: this.#store, host });
  }
}

let compiled: WebAssembly.Module | undefined;

/** Compiled when the first engine is made: most worlds have none. */
function sqlite(): WebAssembly.Module {
  const path = createRequire(import.meta.url).resolve('@sqlite.org/sqlite-wasm/sqlite3.wasm');
  compiled ??= new WebAssembly.Module(readFileSync(path));
  return compiled;
}
