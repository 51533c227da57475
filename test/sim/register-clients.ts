import type { Random } from '../../src/base/random.ts';
import type { ServerId } from '../../src/raft/types.ts';
import { type Begun, Histories } from './histories.ts';
import type { Host } from './host.ts';
import { encodeWrite, type RegisterMachine } from './register-machine.ts';
import type { Clients } from './service.ts';
import { Violation } from './violation.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** How clients behave. Times in milliseconds. */
export interface ClientOptions {
  readonly clients: number;
  readonly registers: number;
  readonly maxThinkMs: number;
  readonly timeoutMs: number;
  readonly readPercent: number;
  /** How often a client goes where it was served or sent, and not anywhere. */
  readonly loyalPercent: number;
  /** Longest command, in words beyond the first. */
  readonly maxWords: number;
  /** Requests and answers that never arrive. */
  readonly lossPercent: number;
}

/** What a host answers; `refused` is certain not to have been executed. */
type Answer =
  | { readonly kind: 'done'; readonly value: number | undefined }
  | { readonly kind: 'refused'; readonly leader: ServerId | undefined }
  | { readonly kind: 'unknown' };

/** How long a request or an answer is on its way at most. */
export const farthestMs = 5;
/** How long each of so many clients thinks at most when everything works: whoever is behind must be able to catch up. */
export function calmThinkMs(clients: number): number {
  return 150 * clients;
}

/**
 * Clients that write and read registers, look for the leader, and try again elsewhere. Every operation goes into the
 * history of its register.
 */
export class RegisterClients implements Clients {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #options: ClientOptions;
  readonly #hosts: readonly Host<RegisterMachine>[];
  readonly #histories: Histories;
  /** The newest entry that anybody was told of. */
  readonly #acknowledgedIndex: () => number;
  #calm = false;

  constructor(
    clock: VirtualClock,
    random: Random,
    options: ClientOptions,
    hosts: readonly Host<RegisterMachine>[],
    acknowledgedIndex: () => number,
  ) {
    this.#acknowledgedIndex = acknowledgedIndex;
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#hosts = hosts;
    this.#histories = new Histories(options.registers);
  }

  get acknowledged(): number {
    return this.#histories.acknowledged;
  }

  get reads(): number {
    return this.#histories.reads;
  }

  start(): void {
    for (let client = 0; client < this.#options.clients; client++) this.#think(undefined);
  }

  probe(id: ServerId): void {
    const host = this.#hostOf(id);
    host?.mainClock.arrive(() => {
      const nothing = () => {};
      if (host.life?.service.leadingTerm !== undefined) this.#read(host, nothing, nothing);
    });
  }

  calm(): void {
    this.#calm = true;
  }

  check(): string | undefined {
    const leader = this.#hosts.find(({ life }) => life?.service.leadingTerm !== undefined);
    for (let register = 0; register < this.#options.registers; register++) {
      const now = this.#clock.now();
      const lastRead = this.#histories.begin('read', register, now);
      this.#histories.end(lastRead, now, leader?.life?.service.read(register));
    }
    return this.#histories.check();
  }

  #think(leader: ServerId | undefined): void {
    const { clients } = this.#options;
    const maxThinkMs = this.#calm ? calmThinkMs(clients) : this.#options.maxThinkMs;
    this.#clock.after(this.#random.int(0, maxThinkMs * 10) / 10, () => {
      const isLoyal = this.#calm || this.#random.int(0, 99) < this.#options.loyalPercent;
      this.#operate((isLoyal ? this.#hostOf(leader) : undefined) ?? this.#anyHost());
    });
  }

  #operate(host: Host<RegisterMachine>): void {
    const register = this.#random.int(0, this.#options.registers - 1);
    const readPercent = this.#calm ? 30 : this.#options.readPercent;
    const isRead = this.#random.int(0, 99) < readPercent;
    const begun = this.#histories.begin(isRead ? 'read' : 'write', register, this.#clock.now());
    let over = false;
    const end = (answer: Answer) => {
      if (over) return;
      over = true;
      if (answer.kind === 'done') this.#histories.end(begun, this.#clock.now(), answer.value);
      if (answer.kind === 'refused') this.#histories.forget(begun);
      const leader = answer.kind === 'refused' ? answer.leader : undefined;
      this.#think(answer.kind === 'done' ? host.id : leader);
    };
    this.#clock.after(this.#options.timeoutMs, () => end({ kind: 'unknown' }));
    this.#travel(() => this.#ask(host, begun, (answer) => this.#travel(() => end(answer))));
  }

  /** What the process at the host makes of it. Hosts that are down refuse the connection. */
  #ask(host: Host<RegisterMachine>, begun: Begun, answer: (answer: Answer) => void): void {
    const { register, operation } = begun;
    if (host.life === undefined) {
      answer({ kind: 'refused', leader: undefined });
      return;
    }
    host.mainClock.arrive(() => {
      if (host.life === undefined) return;
      const { consensus, service } = host.life;
      const refused = { kind: 'refused', leader: consensus.transition.leader?.id } as const;
      if (service.leadingTerm === undefined) {
        answer(refused);
      } else if (operation.kind === 'read') {
        const read = () => answer({ kind: 'done', value: service.read(register) });
        this.#read(host, read, () => answer(refused));
      } else if (service.transferring) {
        answer(refused);
      } else {
        const words = this.#random.int(0, this.#options.maxWords);
        service.write(encodeWrite(register, operation.value ?? 0, words), (outcome) => {
          answer(outcome === 'committed' ? { kind: 'done', value: 0 } : { kind: 'unknown' });
        });
      }
    });
  }

  /** What is read holds everything that was acknowledged anywhere before it was asked for. */
  #read({ id, life }: Host<RegisterMachine>, read: () => void, refused: () => void): void {
    if (life === undefined) return;
    const { consensus, service } = life;
    const floor = this.#acknowledgedIndex();
    const term = service.leadingTerm;
    const resume = () => {
      // As a session does, whose reads end with the leadership that they began in.
      if (service.leadingTerm !== term) {
        refused();
        return;
      }
      if (service.index >= floor) read();
      else throw new Violation(`a read on ${id} at ${service.index} misses ${floor}`);
    };
    if (consensus.leaseHeld()) resume();
    else service.proofs.wait({ resume, fail: refused });
  }

  #travel(arrive: () => void): void {
    if (!this.#calm && this.#random.int(0, 99) < this.#options.lossPercent) return;
    this.#clock.after(this.#random.int(0, farthestMs * 10) / 10, arrive);
  }

  #hostOf(id: ServerId | undefined): Host<RegisterMachine> | undefined {
    return id === undefined ? undefined : this.#hosts.find((host) => host.id === id);
  }

  #anyHost(): Host<RegisterMachine> {
    return this.#hosts[this.#random.int(0, this.#hosts.length - 1)] as Host<RegisterMachine>;
  }
}
