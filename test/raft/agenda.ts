/** Virtual time: what is to happen when, in order. */
export class Agenda {
  readonly #jobs: { readonly at: number; readonly run: () => void }[] = [];
  #now = 0;

  get now(): number {
    return this.#now;
  }

  /** What is due at the same time happens in the order it was planned. */
  later(delayMs: number, run: () => void): void {
    const job = { at: this.#now + delayMs, run };
    let low = 0;
    let high = this.#jobs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#jobs[middle]?.at ?? 0) <= job.at) low = middle + 1;
      else high = middle;
    }
    this.#jobs.splice(low, 0, job);
  }

  runUntil(end: number): void {
    for (let job = this.#jobs[0]; job !== undefined && job.at <= end; job = this.#jobs[0]) {
      this.#jobs.shift();
      this.#now = Math.max(this.#now, job.at);
      job.run();
    }
    this.#now = end;
  }
}
