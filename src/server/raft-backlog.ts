/**
 * Bytes that came from peers and are not worked off: on their way to the disk, or to the machine. Above the
 * limit nothing more is read from peers, until half of it is gone.
 */
export class Backlog {
  readonly #limitBytes: number;
  readonly #pause: () => void;
  readonly #resume: () => void;
  #bytes = 0;
  #paused = false;

  constructor(limitBytes: number, pause: () => void, resume: () => void) {
    this.#limitBytes = limitBytes;
    this.#pause = pause;
    this.#resume = resume;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#paused || this.#bytes <= this.#limitBytes) return;
    this.#paused = true;
    this.#pause();
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
    if (!this.#paused || this.#bytes > this.#limitBytes / 2) return;
    this.#paused = false;
    this.#resume();
  }
}
