/** Messages that are kept in the order in which they came, in a few big buffers. */

/** A message has at most 65,535 bytes. */
const CHUNK = 1 << 18;

export class MessageLog {
  /** Bytes of all messages. */
  size = 0;
  #length = 0;
  readonly #chunks: Uint8Array[] = [];
  /** Bytes in use of the last chunk. */
  #used = CHUNK;
  /** For each message: where it starts, counted over whole chunks. */
  #starts = new Float64Array(64);

  get length(): number {
    return this.#length;
  }

  /** Appends a copy. */
  add(message: Uint8Array): void {
    if (this.#used + message.length > CHUNK) {
      this.#chunks.push(new Uint8Array(CHUNK));
      this.#used = 0;
    }
    if (this.#length === this.#starts.length) {
      const more = new Float64Array(this.#starts.length * 2);
      more.set(this.#starts);
      this.#starts = more;
    }
    this.#chunks[this.#chunks.length - 1].set(message, this.#used);
    this.#starts[this.#length++] = (this.#chunks.length - 1) * CHUNK + this.#used;
    this.#used += message.length;
    this.size += message.length;
  }

  /** The message, without a copy. */
  get(i: number): Uint8Array {
    const [chunk, at] = this.#place(i);
    return chunk.subarray(at, at + ((chunk[at + 2] << 8) | chunk[at + 3]));
  }

  /** Its transaction id. */
  xid(i: number): number {
    const [chunk, at] = this.#place(i);
    return ((chunk[at + 4] << 24) | (chunk[at + 5] << 16) | (chunk[at + 6] << 8) | chunk[at + 7]) >>> 0;
  }

  #place(i: number): [chunk: Uint8Array, at: number] {
    const start = this.#starts[i];
    return [this.#chunks[Math.floor(start / CHUNK)], start % CHUNK];
  }
}
