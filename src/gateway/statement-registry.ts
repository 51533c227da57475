import { DqliteError } from '../base/errors.ts';
import type { Statement } from '../sql/engine.ts';

/** The prepared statements of one connection. A new one gets the lowest id that is free. */
export class StatementRegistry {
  readonly #slots: (Statement | undefined)[] = [];
  /** The texts of those that may run on a reader. */
  readonly #sharedTexts: (string | undefined)[] = [];
  readonly #limit: number;
  /** No slot below this one is free. */
  #lowestFree = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** No further statement would be taken. */
  get full(): boolean {
    return this.#lowestFree >= this.#limit;
  }

  /** Keeps a statement and returns its id. `sharedText`: a reader may run it. The caller has looked at `full`. */
  add(statement: Statement, sharedText: string | undefined): number {
    const id = this.#lowestFree;
    this.#slots[id] = statement;
    this.#sharedTexts[id] = sharedText;
    do this.#lowestFree++;
    while (this.#slots[this.#lowestFree] !== undefined);
    return id;
  }

  /** @throws DqliteError `noStatement` */
  get(id: number): Statement {
    const statement = this.#slots[id];
    if (statement === undefined) throw DqliteError.of('noStatement');
    return statement;
  }

  /** The text by which a reader may run it. Undefined: it runs where it was prepared. */
  sharedText(id: number): string | undefined {
    return this.#sharedTexts[id];
  }

  /** The statement, if there is one. */
  find(id: number): Statement | undefined {
    return this.#slots[id];
  }

  /** Frees a statement and its id. @throws DqliteError `noStatement` */
  finalize(id: number): void {
    this.get(id).finalize();
    this.#slots[id] = undefined;
    this.#sharedTexts[id] = undefined;
    this.#lowestFree = Math.min(this.#lowestFree, id);
  }
}
