import { checkRegister, type Operation } from './linearizability.ts';

const unknown = Number.POSITIVE_INFINITY;

/** An operation that a client has begun. */
export interface Begun {
  readonly register: number;
  readonly operation: Operation;
}

/** What clients did to each register, and what they were told. */
export class Histories {
  readonly #histories: { -readonly [key in keyof Operation]: Operation[key] }[][];
  #values = 0;
  #writes = 0;
  #reads = 0;

  constructor(registers: number) {
    this.#histories = Array.from({ length: registers }, () => []);
  }

  /** Writes that clients know to have happened. */
  get acknowledged(): number {
    return this.#writes;
  }

  /** Reads that were answered. */
  get reads(): number {
    return this.#reads;
  }

  /** A write of a value that was never written before, or a read. Until it ends its outcome is unknown. */
  begin(kind: Operation['kind'], register: number, calledAt: number): Begun {
    const value = kind === 'write' ? ++this.#values : undefined;
    const operation = { kind, value, calledAt, returnedAt: unknown };
    this.#histories[register]?.push(operation);
    return { register, operation };
  }

  /** @param value what was read */
  end({ register, operation }: Begun, returnedAt: number, value: number | undefined): void {
    const history = this.#histories[register] ?? [];
    const at = history.indexOf(operation);
    if (operation.kind === 'write') this.#writes++;
    else this.#reads++;
    history[at] = { ...operation, returnedAt, value: operation.value ?? value };
  }

  /** It is certain not to have happened. */
  forget({ register, operation }: Begun): void {
    const history = this.#histories[register] ?? [];
    history.splice(history.indexOf(operation), 1);
  }

  /** The first register whose history could not have happened one operation at a time, or could not be decided. */
  check(): string | undefined {
    for (const [register, history] of this.#histories.entries()) {
      const verdict = checkRegister(history, undefined);
      if (verdict === 'linearizable') continue;
      const lines = history.map(({ kind, value, calledAt, returnedAt }) => {
        return `${calledAt.toFixed(3)}..${returnedAt.toFixed(3)} ${kind} ${value}`;
      });
      return `register ${register} is ${verdict}:\n${lines.join('\n')}`;
    }
    return undefined;
  }
}
