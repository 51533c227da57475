import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Conditions } from './cells.ts';
import { atExit, compile, run, startHelper } from './native.ts';

const SIZE_BYTES = 4 * 2 ** 30;

/**
 * A disk for each server, whose flush takes longer: ext4 on a loop device on a file whose fsync waits
 * (native/slow-disk.c). Both kinds of servers run on it as they are, by whatever way they write.
 */
export class SlowDisks {
  readonly #base: string;
  readonly #delayUs: number;
  readonly #mounted: string[] = [];
  #forget = (): void => {};

  constructor(base: string, conditions: Conditions) {
    this.#base = base;
    this.#delayUs = conditions.syncDelayMs * 1000;
  }

  directoryOf(id: number): string {
    return join(this.#base, `disk-${id}`);
  }

  async mount(): Promise<void> {
    const program = compile('slow-disk');
    this.#forget = atExit(() => this.unmount());
    for (const id of [1, 2, 3]) {
      const image = join(this.#base, `image-${id}`);
      const slow = join(this.#base, `slow-${id}`);
      writeFileSync(image, '');
      truncateSync(image, SIZE_BYTES);
      run('mkfs.ext4', '-q', '-F', '-E', 'nodiscard', image);
      for (const folder of [slow, this.directoryOf(id)]) mkdirSync(folder);
      await startHelper(program, [slow, image, String(this.#delayUs)]);
      this.#mounted.push(slow);
      run('mount', '-o', 'loop', join(slow, 'disk'), this.directoryOf(id));
      this.#mounted.push(this.directoryOf(id));
    }
  }

  /** The programs behind the disks end when these are gone. */
  unmount(): void {
    this.#forget();
    for (let at = this.#mounted.pop(); at !== undefined; at = this.#mounted.pop())
      run('umount', at);
  }
}
