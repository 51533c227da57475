import { mix } from './chain.ts';

/** What happened in a run: a hash of it always, the newest lines of it when somebody wants to read them. */
export class Trace {
  readonly #keep: number;
  #lines: string[] = [];
  #hash = 0;
  #count = 0;

  /** @param keep how many lines to keep; 0: none are made */
  constructor(keep: number) {
    this.#keep = keep;
  }

  /** The same for two runs only if the same things happened at the same times. */
  get hash(): number {
    return this.#hash;
  }

  /** How many things happened. */
  get count(): number {
    return this.#count;
  }

  get lines(): readonly string[] {
    return this.#lines.slice(-this.#keep);
  }

  add(nowMs: number, who: string, line: () => string): void {
    this.#count++;
    this.#hash = mix(mix(this.#hash, Math.round(nowMs * 1000)), who.charCodeAt(0));
    if (this.#keep === 0) return;
    this.#lines.push(`${nowMs.toFixed(3).padStart(10)} ${who} ${line()}`);
    if (this.#lines.length > 4 * this.#keep) this.#lines = this.#lines.slice(-this.#keep);
  }
}
