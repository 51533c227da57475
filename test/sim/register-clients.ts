import type { Random } from '../../src/base/random.ts';
import type { ServerId } from '../../src/raft/types.ts';
import type { Host } from './host.ts';
import { type Operation, checkRegister } from './linearizability.ts';
import { encodeWrite, type RegisterMachine } from './register-machine.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** How clients behave. Times in milliseconds. */
export interface ClientOptions {
  readonly clients: number;
  readonly registers: number;
  readonly maxThinkMs: number;
  readonly timeoutMs: number;
  readonly readPercent: number;
  /** Requests and answers that never arrive. */
  readonly lossPercent: number;
}

/** What a host answers; `refused` is certain not to have been executed. */
type Answer =
  | { readonly kind: 'done'; readonly value: number | undefined }
  | { readonly kind: 'refused'; readonly leader: ServerId | undefined }
  | { readonly kind: 'unknown' };

type Recorded = { -readonly [key in keyof Operation]: Operation[key] };

const unknown = Number.POSITIVE_INFINITY;
const farthestMs = 5;
/** How much slower clients are when everything works: whoever is behind must be able to catch up. */
const calmFactor = 6;

/**
 * Clients that write and read registers, look for the leader, and try again elsewhere. Every operation goes into the
 * history of its register.
 */
export class RegisterClients {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #options: ClientOptions;
  readonly #hosts: readonly Host<RegisterMachine>[];
  readonly #histories: Recorded[][];
  #values = 0;
  #acknowledged = 0;
  #reads = 0;
  #calm = false;

  constructor(
    clock: VirtualClock,
    random: Random,
    options: ClientOptions,
    hosts: readonly Host<RegisterMachine>[],
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#hosts = hosts;
    this.#histories = Array.from({ length: options.registers }, () => []);
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  get reads(): number {
    return this.#reads;
  }

  start(): void {
    for (let client = 0; client < this.#options.clients; client++) this.#think(undefined);
  }

  /** Nothing is lost any more, and everybody takes his time. */
  calm(): void {
    this.#calm = true;
  }

  /** Registers whose history could not have happened one operation at a time. */
  check(): string[] {
    const wrong: string[] = [];
    for (const [register, history] of this.#histories.entries()) {
      const verdict = checkRegister(history, undefined);
      if (verdict === 'not linearizable') wrong.push(`register ${register} is ${verdict}`);
    }
    return wrong;
  }

  #think(leader: ServerId | undefined): void {
    const maxThinkMs = this.#options.maxThinkMs * (this.#calm ? calmFactor : 1);
    this.#clock.after(this.#random.int(0, maxThinkMs * 10) / 10, () => {
      this.#operate(this.#hostOf(leader) ?? this.#anyHost());
    });
  }

  #operate(host: Host<RegisterMachine>): void {
    const register = this.#random.int(0, this.#options.registers - 1);
    const isRead = this.#random.int(0, 99) < this.#options.readPercent;
    const operation: Recorded = {
      kind: isRead ? 'read' : 'write',
      value: isRead ? undefined : ++this.#values,
      calledAt: this.#clock.now(),
      returnedAt: unknown,
    };
    this.#histories[register]?.push(operation);
    let over = false;
    const end = (answer: Answer) => {
      if (over) return;
      over = true;
      this.#ended(register, operation, answer);
      const leader = answer.kind === 'refused' ? answer.leader : undefined;
      this.#think(answer.kind === 'done' ? host.id : leader);
    };
    this.#clock.after(this.#options.timeoutMs, () => end({ kind: 'unknown' }));
    this.#travel(() => {
      this.#ask(host, register, operation, (answer) => this.#travel(() => end(answer)));
    });
  }

  #ended(register: number, operation: Recorded, answer: Answer): void {
    if (answer.kind === 'done') {
      operation.returnedAt = this.#clock.now();
      if (operation.kind === 'write') {
        this.#acknowledged++;
      } else {
        operation.value = answer.value;
        this.#reads++;
      }
    } else if (answer.kind === 'refused') {
      const history = this.#histories[register];
      history?.splice(history.indexOf(operation), 1);
    }
  }

  /** What the process at the host makes of it. Hosts that are down refuse the connection. */
  #ask(
    host: Host<RegisterMachine>,
    register: number,
    { kind, value = 0 }: Operation,
    answer: (answer: Answer) => void,
  ): void {
    if (host.life === undefined) {
      answer({ kind: 'refused', leader: undefined });
      return;
    }
    host.clock.arrive(() => {
      if (host.life === undefined) return;
      const { consensus, machine } = host.life;
      const refused = { kind: 'refused', leader: consensus.transition.leader?.id } as const;
      if (machine.leadingTerm === undefined) {
        answer(refused);
      } else if (kind === 'read') {
        const read = () => answer({ kind: 'done', value: machine.read(register) });
        if (consensus.leaseHeld()) read();
        else consensus.confirmLeadership().then(read, () => answer(refused));
      } else if (machine.transferring) {
        answer(refused);
      } else {
        const command = encodeWrite(register, value, this.#random.int(0, 3));
        machine.write(command, consensus, (outcome) => {
          answer(outcome === 'committed' ? { kind: 'done', value } : { kind: 'unknown' });
        });
      }
    });
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
