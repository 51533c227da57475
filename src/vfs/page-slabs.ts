import { pageBytes } from '../protocol/commands.ts';

/** Pages of one slab: 1 MiB, large enough that V8 keeps the memory outside its own heap. */
const pagesPerSlab = 256;

/** Free pages below which nothing is given back: 16 MiB. */
const keptFreePages = 16 * pagesPerSlab;

/**
 * Memory for pages, carved from slabs and recycled: the garbage collector sees a few large buffers that live
 * long instead of one for each page. Slabs that are free as a whole are given back when many are.
 */
export class PageSlabs {
  #free: Uint8Array[] = [];
  #slabs = 0;
  #live = 0;
  /** Free pages at which it is worth looking for whole slabs again. */
  #trimAt = 2 * keptFreePages;

  /** Pages in use. */
  get livePages(): number {
    return this.#live;
  }

  /** Memory taken, free pages included. */
  get reservedBytes(): number {
    return this.#slabs * pagesPerSlab * pageBytes;
  }

  /** A page with any content. */
  take(): Uint8Array {
    this.#live++;
    return this.#free.pop() ?? this.#carve();
  }

  /** Takes the page back: nobody may hold it any more. */
  give(page: Uint8Array): void {
    this.#live--;
    this.#free.push(page);
    if (this.#free.length >= this.#trimAt) this.#trim();
  }

  #carve(): Uint8Array {
    const slab = new ArrayBuffer(pagesPerSlab * pageBytes);
    this.#slabs++;
    for (let i = pagesPerSlab - 1; i > 0; i--) {
      this.#free.push(new Uint8Array(slab, i * pageBytes, pageBytes));
    }
    return new Uint8Array(slab, 0, pageBytes);
  }

  /** Lets go of slabs without a page in use. */
  #trim(): void {
    const freeOf = new Map<ArrayBufferLike, number>();
    for (const page of this.#free) freeOf.set(page.buffer, (freeOf.get(page.buffer) ?? 0) + 1);
    const droppable = Math.floor((this.#free.length - keptFreePages) / pagesPerSlab);
    const dropped = new Set<ArrayBufferLike>();
    for (const [slab, free] of freeOf) {
      if (dropped.size === droppable) break;
      if (free === pagesPerSlab) dropped.add(slab);
    }
    this.#free = this.#free.filter((page) => !dropped.has(page.buffer));
    this.#slabs -= dropped.size;
    // Doubling makes the cost of looking a constant share of the cost of freeing.
    this.#trimAt = Math.max(2 * keptFreePages, 2 * this.#free.length);
  }
}
