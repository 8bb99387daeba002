/** How many times each hash (30 bits) is in: open addressing with linear probing, 8 bytes a slot, at most two thirds of them in use. */
export class HashCounts {
  /** Hash and count by turns; a count of 0 is a free slot. */
  #slots = new Uint32Array(16);
  #mask = 7;
  #used = 0;

  has(hash: number): boolean {
    return this.#slots[this.#find(hash) + 1] !== 0;
  }

  add(hash: number): void {
    const at = this.#find(hash);
    if (this.#slots[at + 1]++) return;
    this.#slots[at] = hash;
    if (++this.#used * 3 > this.#mask * 2) this.#grow();
  }

  /** Undoes an `add`. */
  remove(hash: number): void {
    const at = this.#find(hash);
    if (this.#slots[at + 1] === 0) throw new Error('hash is not in');
    if (--this.#slots[at + 1]) return;
    this.#used--;
    this.#closeGap(at >> 1);
  }

  /** Where the hash is, or would be. */
  #find(hash: number): number {
    const slots = this.#slots;
    let i = hash & this.#mask;
    while (slots[2 * i + 1] !== 0 && slots[2 * i] !== hash) i = (i + 1) & this.#mask;
    return 2 * i;
  }

  /** Moves what stands behind a freed slot forward, as far as a search would miss it otherwise. */
  #closeGap(freed: number): void {
    const slots = this.#slots;
    let gap = freed;
    for (let i = (gap + 1) & this.#mask; slots[2 * i + 1] !== 0; i = (i + 1) & this.#mask) {
      const home = slots[2 * i] & this.#mask;
      if (((i - home) & this.#mask) < ((i - gap) & this.#mask)) continue;
      slots[2 * gap] = slots[2 * i];
      slots[2 * gap + 1] = slots[2 * i + 1];
      slots[2 * i + 1] = 0;
      gap = i;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    this.#mask = old.length - 1;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] === 0) continue;
      const at = this.#find(old[i]);
      this.#slots[at] = old[i];
      this.#slots[at + 1] = old[i + 1];
    }
  }
}
