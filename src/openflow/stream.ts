/**
 * Cuts a byte stream into OpenFlow messages. Keeps at most one message (65,535 bytes) beyond what it is given. A length below 8 can't be
 * recovered from: the connection has to be closed.
 */
export class MessageStream {
  #rest: Uint8Array = new Uint8Array(0);
  #broken = false;

  /** True once a header was impossible; nothing is returned any more. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Bytes that wait for the rest of their message. */
  get pending(): number {
    return this.#rest.length;
  }

  /** The messages that `chunk` completes, in order. They share memory with `chunk` or with nothing. */
  push(chunk: Uint8Array): Uint8Array[] {
    if (this.#broken) return [];
    let data = chunk;
    if (this.#rest.length) {
      data = new Uint8Array(this.#rest.length + chunk.length);
      data.set(this.#rest);
      data.set(chunk, this.#rest.length);
    }
    const out: Uint8Array[] = [];
    let pos = 0;
    while (data.length - pos >= 4) {
      const length = (data[pos + 2] << 8) | data[pos + 3];
      if (length < 8) {
        this.#broken = true;
        this.#rest = new Uint8Array(0);
        return out;
      }
      if (data.length - pos < length) break;
      out.push(data.subarray(pos, pos + length));
      pos += length;
    }
    this.#rest = data.slice(pos);
    return out;
  }
}
