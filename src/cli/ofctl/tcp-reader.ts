/** Puts the segments of TCP streams in order, one direction of one connection at a time. */

interface Stream {
  nextSeq: number | undefined;
  payload: Buffer;
}

export interface Segment {
  /** Names the direction of the connection. */
  key: string;
  seq: number;
  syn: boolean;
  data: Uint8Array;
}

const MAX_PAYLOAD = 65536;

export class TcpReader {
  readonly #streams = new Map<string, Stream>();

  /** Takes a segment; returns the bytes of its stream that were not consumed yet, undefined when it brings nothing new. */
  push({ key, seq, syn, data }: Segment): Buffer | undefined {
    if (data.length === 0 && !syn) return undefined;
    let stream = this.#streams.get(key);
    if (!stream || syn) {
      stream = { nextSeq: syn ? (seq + 1) >>> 0 : seq, payload: Buffer.alloc(0) };
      this.#streams.set(key, stream);
      if (syn) return undefined;
    }
    // A retransmission, or a hole in the capture: only what follows directly is of use.
    if (stream.nextSeq !== seq) return undefined;
    stream.nextSeq = (seq + data.length) >>> 0;
    stream.payload = Buffer.concat([stream.payload, data]).subarray(-MAX_PAYLOAD);
    return stream.payload;
  }

  /** Drops the first `n` bytes of a stream's rest. */
  consume(key: string, n: number): void {
    const stream = this.#streams.get(key);
    if (stream) stream.payload = stream.payload.subarray(n);
  }
}
