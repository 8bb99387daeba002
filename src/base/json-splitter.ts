/** Cuts a stream of JSON objects or arrays, with or without space between them, into texts of one value each. */
export class JsonSplitter {
  readonly #maxSize: number;
  #text = '';
  #at = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** `maxSize`: characters that one value may have. */
  constructor(maxSize = 64 << 20) {
    this.#maxSize = maxSize;
  }

  /** Takes more text; returns the values that it completes. Throws SyntaxError when something else than an object or array begins. */
  push(chunk: string): string[] {
    this.#text += chunk;
    const values: string[] = [];
    let start = 0;
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at]!;
      if (this.#depth === 0) {
        if (/\s/.test(c)) start = this.#at + 1;
        else if (c !== '{' && c !== '[') throw new SyntaxError('syntax error at beginning of input');
      }
      if (this.#step(c)) {
        values.push(this.#text.slice(start, this.#at + 1));
        start = this.#at + 1;
      }
    }
    this.#text = this.#text.slice(start);
    this.#at -= start;
    if (this.#text.length > this.#maxSize) throw new SyntaxError('input exceeds maximum size');
    return values;
  }

  /** Returns true at the end of a value. */
  #step(c: string): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (c === '\\') this.#escaped = true;
      else if (c === '"') this.#inString = false;
      return false;
    }
    if (c === '"') this.#inString = true;
    else if (c === '{' || c === '[') this.#depth++;
    else if (c === '}' || c === ']') return --this.#depth === 0;
    return false;
  }
}
