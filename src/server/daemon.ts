import type { Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import type { ServerId } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { describeServer } from '../client/cluster.ts';
import { untilAborted } from '../client/deadline.ts';
import { Gateway } from '../gateway/gateway.ts';
import { textOfName } from '../protocol/kinds.ts';
import type { Transition } from '../raft/events.ts';
import type { Engine } from '../sql/engine.ts';
import { SqlStateMachine } from '../sql/state-machine.ts';
import { warmUp } from '../sql/warm-up.ts';
import type { Identity } from '../storage/app-files.ts';
import { DataDirectory } from '../storage/directory.ts';
import { loadNativeAddon } from '../storage/native-addon.ts';
import { type OpenedDisk, openDisk } from '../storage/open-disk.ts';
import { PageStore } from '../vfs/page-store.ts';
import { clientReading } from './batch-reads.ts';
import { BusyPoll } from './busy-poll.ts';
import { ClientConnection, type ClientConnectionParts } from './client-connection.ts';
import type { Config } from './config.ts';
import { type Status, serveControl } from './control.ts';
import {
  busyPollLimitMs,
  electionTimeoutMs,
  raftHostOptions,
  sessionLimits,
} from './daemon-options.ts';
import { DiskHealth } from './disk-health.ts';
import { loadEngine } from './engine-loader.ts';
import { establishIdentity } from './identity.ts';
import { joinCluster } from './join.ts';
import { Listener } from './listener.ts';
import { nodeClock } from './node-clock.ts';
import { PlaceInCluster } from './place-in-cluster.ts';
import { type RaftHost, startRaft } from './raft-host.ts';
import { handOverVote } from './role-handover.ts';
import { RoleManager } from './role-manager.ts';
import { reasonForNoLeader, serverStatuses } from './status-report.ts';

/** How often a stopping daemon looks whether the last requests are answered. */
const DRAIN_POLL_MS = 10;
/** The part of --stop-timeout that handing over leadership and vote may take. */
const HANDOVER_SHARE = 0.5;
/** How long a server that leads no more must have heard nothing until it closes: clients go elsewhere by themselves. */
const QUIET_MS = 100;

/** What a daemon is started with besides its configuration. */
export interface DaemonParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly version: string;
  /** The disk, the databases or the Raft thread failed: the process must end. */
  readonly fatal: (error: unknown) => void;
}

/**
 * One server: builds every part and puts them together. Read this file first: a client's bytes go from Listener
 * through ClientConnection to the Gateway's sessions; what they write goes from the SqlStateMachine to
 * Raft (RaftHost, on a thread of its own), and comes back committed.
 */
export class Daemon {
  readonly #parts: DaemonParts;
  readonly #identity: Identity;
  readonly #directory: DataDirectory;
  readonly #disk: OpenedDisk;
  readonly #engine: Engine;
  readonly #machine: SqlStateMachine;
  readonly #place: PlaceInCluster;
  readonly #raft: RaftHost;
  readonly #gateway: Gateway;
  readonly #connectionParts: ClientConnectionParts;
  readonly #listener: Listener;
  readonly #roles: RoleManager;
  readonly #diskHealth: DiskHealth;
  readonly #connections = new Set<ClientConnection>();
  readonly #stopping = new AbortController();
  readonly #startedAt = performance.now();
  /** How often the connections had received something when it was last looked at, and since when it is so. */
  #received = -1;
  #receivedAt = 0;
  #control: { close(): void } | undefined;

  /**
   * Resolves when the daemon serves: a cluster of one has a leader then, a joining server is a member. The log is
   * read, the databases are restored.
   * @throws UsageError, StartFailure, or an error of the storage
   */
  static async start(parts: DaemonParts): Promise<Daemon> {
    const { config, logger } = parts;
    const directory = await DataDirectory.open(config.dataDir);
    let raft: RaftHost | undefined;
    try {
      const disk = openDisk(config.diskBackend);
      const identity = await establishIdentity(config, directory, disk.disk);
      const store = new PageStore({ transactionPages: config.maxTransactionPages });
      const newEngine = loadEngine(config.engine, {
        statementBytes: config.maxStatementSize,
        valueBytes: config.maxValueSize,
        temporaryBytes: config.maxTemporarySize,
      });
      const createEngine = (): Engine => newEngine(store);
      const engine = createEngine();
      warmUp(engine, store);
      const machine = new SqlStateMachine({
        clock: nodeClock,
        store,
        limits: {
          maxSpeculativeTransactions: config.maxUncommittedTransactions,
          maxSpeculativePages: config.maxUncommittedPages,
          maxDatabases: config.maxDatabases,
        },
        // It still votes and keeps the log: stopping would only take a voter away from the others.
        onStopped: (reason) =>
          logger.error({ reason }, 'the databases cannot follow the log any more'),
      });
      const place = new PlaceInCluster(identity, directory, logger);
      raft = await startRaft(raftHostOptions(config, identity, directory.path), {
        machine: place.watched(machine),
        logger,
        fatal: parts.fatal,
      });
      const built = { identity, directory, disk, engine, createEngine, machine, place, raft };
      const daemon = new Daemon(parts, built);
      await daemon.#serve();
      return daemon;
    } catch (error) {
      await raft?.stop();
      await directory.close();
      throw error;
    }
  }

  private constructor(parts: DaemonParts, built: Built) {
    this.#parts = parts;
    this.#identity = built.identity;
    this.#directory = built.directory;
    this.#disk = built.disk;
    this.#engine = built.engine;
    this.#machine = built.machine;
    this.#place = built.place;
    this.#raft = built.raft;
    const { config, logger } = parts;
    this.#gateway = new Gateway({
      machine: built.machine,
      consensus: built.raft.consensus,
      clock: nodeClock,
      limits: sessionLimits(config),
      engine: built.engine,
      // What is committed is outside of SQLite and survives.
      replaceEngine: async (cause) => {
        logger.error({ err: cause }, 'SQLite failed and is started again');
        return built.createEngine();
      },
      server: { id: built.identity.id, failureDomain: config.failureDomain },
      onSlowStatement: (statement) => logger.warn({ ...statement }, 'slow statement'),
    });
    this.#connectionParts = {
      gateway: this.#gateway,
      adoptPeer: (socket, id, address, rest) =>
        this.#raft.adoptPeer(socket, { id: id as ServerId, address }, rest),
      startReading: clientReading(loadNativeAddon().addon),
      busyPoll: new BusyPoll({
        clock: nodeClock,
        limitMs: busyPollLimitMs(config, availableParallelism()),
        othersWork: () => built.machine.committing,
      }),
      logger,
    };
    this.#listener = new Listener({
      address: config.listen ?? built.identity.address,
      maxConnections: config.maxConnections,
      onConnection: (socket) => this.#accept(socket),
      logger,
    });
    this.#roles = this.#roleManager();
    this.#diskHealth = new DiskHealth({
      slowForMs: config.slowDiskHandover,
      electionTimeoutMs: electionTimeoutMs(config),
      consensus: built.raft.consensus,
      status: () => built.raft.status(),
      clock: nodeClock,
      logger,
    });
  }

  /** The address that clients and servers use. */
  get address(): string {
    return this.#identity.address;
  }

  /** Everything that `dqlited status` shows. */
  async status(): Promise<Status> {
    const node = await this.#raft.status();
    const { transition } = this.#raft.consensus;
    const { config, version } = this.#parts;
    const { id, address } = this.#identity;
    const { servers } = transition.configuration;
    return {
      version,
      processId: process.pid,
      uptimeMs: Math.round(performance.now() - this.#startedAt),
      id,
      address,
      listen: config.listen ?? address,
      dataDir: this.#directory.path,
      engine: this.#engine.build,
      disk: this.#disk.backend,
      diskReason: this.#disk.reason,
      lacksSpace: transition.lacksSpace === true,
      state: transition.state,
      role: servers.find((server) => server.id === id)?.role,
      term: transition.term,
      leader: transition.leader,
      ready: transition.ready,
      noLeaderBecause: reasonForNoLeader(id, transition, node),
      stoppedBecause: this.#machine.stopped,
      lastIndex: node.raft?.lastIndex ?? 0,
      commitIndex: node.raft?.commitIndex ?? 0,
      appliedIndex: this.#machine.appliedIndex,
      snapshotIndex: node.raft?.snapshotIndex ?? 0,
      connections: this.#listener.connectionCount,
      databases: [...this.#machine.replicas.keys()].map(textOfName),
      servers: serverStatuses(id, node),
    };
  }

  /**
   * Hands leadership and vote over, accepts no more, lets the requests under way finish (no longer than
   * --stop-timeout), closes the connections, the log and the data directory.
   */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#roles.stop();
    this.#diskHealth.stop();
    const deadline = performance.now() + this.#parts.config.stopTimeout;
    // Clients and servers connect until there is another leader: it may have to dial this server to win the election.
    const others = await this.#handOver();
    this.#listener.stopAccepting();
    // Until they have gone clients are told that another server leads: a closed connection would leave them in doubt.
    if (others) await this.#until(() => this.#isQuiet, deadline);
    for (const connection of this.#connections) connection.stopReading();
    await this.#until(() => this.#gateway.busySessionCount === 0, deadline);
    this.#control?.close();
    await this.#listener.closeConnections();
    await this.#raft.stop();
    await this.#place.written();
    await this.#directory.close();
  }

  async #serve(): Promise<void> {
    await this.#listener.open();
    const { logger } = this.#parts;
    const status = (): Promise<Status> => this.status();
    this.#control = await serveControl(this.#directory.path, { status }, logger);
    if (this.#parts.config.roleManagement) {
      this.#place.onChange = () => this.#roles.wake();
      void this.#roles.run();
    }
    void this.#diskHealth.run();
    await this.#join();
    const { id } = this.#identity;
    await this.#place.until((transition) => transition.ready || !isOnlyVoter(transition, id));
  }

  /** A server that was started with --join is added by itself, once; others wait for an operator. */
  async #join(): Promise<void> {
    const { config, logger } = this.#parts;
    if (config.join === undefined || !(await this.#directory.joining())) return;
    await joinCluster(this.#identity, config.join, this.#stopping.signal, logger);
    // A spare is sent nothing, so the log will not tell it.
    if (!this.#stopping.signal.aborted) await this.#directory.markJoining(false);
  }

  #accept(accepted: Socket): Socket {
    const connection = new ClientConnection(accepted, this.#connectionParts);
    const { socket } = connection;
    this.#connections.add(connection);
    socket.once('close', () => this.#connections.delete(connection));
    return socket;
  }

  /** The others need no election when the leader that goes names its successor. True when there are others. */
  async #handOver(): Promise<boolean> {
    const { config, logger } = this.#parts;
    const { transition } = this.#raft.consensus;
    const { servers } = transition.configuration;
    const self = this.#identity.id;
    if (!servers.some(({ id, role }) => id !== self && role === 'voter')) return false;
    const signal = AbortSignal.timeout(HANDOVER_SHARE * config.stopTimeout);
    try {
      if (transition.state === 'leader') {
        await untilAborted(this.#raft.consensus.transfer(undefined), signal);
        await untilAborted(
          this.#place.until(({ leader }) => leader !== undefined),
          signal,
        );
      }
    } catch (error) {
      logger.warn({ err: error }, 'leadership could not be handed over');
    }
    if (config.roleManagement) {
      await handOverVote({ self, servers, describe: describeServer, signal, logger });
    }
    return true;
  }

  /** Whether nothing was received, and nothing is under way, since QUIET_MS at least. */
  get #isQuiet(): boolean {
    let received = 0;
    for (const connection of this.#connections) received += connection.receivedCount;
    const now = performance.now();
    if (received !== this.#received || this.#gateway.busySessionCount > 0) this.#receivedAt = now;
    this.#received = received;
    return now - this.#receivedAt >= QUIET_MS;
  }

  async #until(condition: () => boolean, deadline: number): Promise<void> {
    while (!condition() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
  }

  #roleManager(): RoleManager {
    const { config, logger } = this.#parts;
    const { failureDomain } = config;
    return new RoleManager({
      self: this.#identity.id,
      targets: { voters: config.voters, standbys: config.standbys },
      intervalMs: config.roleInterval,
      electionTimeoutMs: electionTimeoutMs(config),
      consensus: this.#raft.consensus,
      status: async () => (await this.#raft.status()).raft,
      describe: describeServer,
      describeSelf: () => ({ failureDomain, weight: this.#gateway.weight }),
      clock: nodeClock,
      logger,
    });
  }
}

interface Built {
  readonly identity: Identity;
  readonly directory: DataDirectory;
  readonly disk: OpenedDisk;
  readonly engine: Engine;
  readonly createEngine: () => Engine;
  readonly machine: SqlStateMachine;
  readonly place: PlaceInCluster;
  readonly raft: RaftHost;
}

/** Whether nobody else can elect a leader. */
function isOnlyVoter({ configuration: { servers } }: Transition, id: ServerId): boolean {
  const voters = servers.filter(({ role }) => role === 'voter');
  return voters.length === 1 && voters[0]?.id === id;
}
