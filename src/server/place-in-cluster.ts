import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../base/logger.ts';
import type { Transition } from '../raft/events.ts';
import type { StateMachine } from '../raft/ports.ts';
import type { Identity } from '../storage/app-files.ts';
import type { DataDirectory } from '../storage/directory.ts';

/**
 * Watches this server's place in the cluster: logs its changes, keeps the files in the data directory in step and
 * lets others wait for something to become true.
 */
export class PlaceInCluster {
  readonly #identity: Identity;
  readonly #directory: DataDirectory;
  readonly #logger: Logger;
  /** Called with every transition, after what it changes here. */
  onChange: () => void = () => {};
  #transition: Transition | undefined;
  #waiting: { until: (transition: Transition) => boolean; resolve: () => void }[] = [];
  /** Files are written one after the other. */
  #writing: Promise<void> = Promise.resolve();

  constructor(identity: Identity, directory: DataDirectory, logger: Logger) {
    this.#identity = identity;
    this.#directory = directory;
    this.#logger = logger;
  }

  /** The machine, with its transitions watched. */
  watched(machine: StateMachine): StateMachine {
    return {
      apply: (entries) => machine.apply(entries),
      takeSnapshot: () => machine.takeSnapshot(),
      restore: (snapshot) => machine.restore(snapshot),
      transition: (transition) => {
        machine.transition(transition);
        this.#changed(transition);
      },
    };
  }

  /** Resolves as soon as `condition` holds. */
  until(condition: (transition: Transition) => boolean): Promise<void> {
    if (this.#transition !== undefined && condition(this.#transition)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ until: condition, resolve }));
  }

  /** Resolves when everything seen so far is in the files. */
  written(): Promise<void> {
    return this.#writing;
  }

  #changed(transition: Transition): void {
    const before = this.#transition;
    this.#transition = transition;
    const sameMembers = isDeepStrictEqual(before?.configuration, transition.configuration);
    this.#log(transition, before, sameMembers);
    if (!sameMembers) this.#remember(transition);
    const met = this.#waiting.filter(({ until }) => until(transition));
    this.#waiting = this.#waiting.filter((waiting) => !met.includes(waiting));
    for (const { resolve } of met) resolve();
    this.onChange();
  }

  #log(transition: Transition, before: Transition | undefined, sameMembers: boolean): void {
    const { state, term, leader, ready, configuration } = transition;
    const fields = { state, term, leader: leader?.id, address: leader?.address };
    if (ready && before?.ready !== true) this.#logger.info(fields, 'this server leads');
    else if (!ready && before?.ready === true) this.#logger.warn(fields, 'leadership lost');
    else if (state !== 'leader' && leader !== undefined && leader.id !== before?.leader?.id) {
      this.#logger.info(fields, 'another server leads');
    } else if (state !== before?.state) this.#logger.debug(fields, 'state changed');
    if (!sameMembers && configuration.servers.length > 0) {
      this.#logger.info({ servers: configuration.servers }, 'members changed');
    }
  }

  /** cluster.yaml names the members for the next start; the mark of a joining server goes once it is one. */
  #remember({ configuration: { servers } }: Transition): void {
    if (servers.length === 0) return;
    const isMember = servers.some(({ id }) => id === this.#identity.id);
    this.#writing = this.#writing
      .then(() => this.#directory.writeCluster(servers))
      .then(() => (isMember ? this.#directory.markJoining(false) : undefined))
      .catch((error: unknown) => {
        this.#logger.warn({ err: error }, 'cannot write the members into the data directory');
      });
  }
}
