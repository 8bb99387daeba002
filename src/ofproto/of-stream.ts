import type { Socket } from 'node:net';

/** OpenFlow messages over a byte stream: framing by the header's length, and a queue with a bound. */

const HEADER_SIZE = 8;
/** Above this, the peer's requests wait until it has read its replies. */
const PAUSE_BYTES = 1 << 20;
/** Above this, messages that nobody asked for are dropped. */
const ASYNC_LIMIT_BYTES = 256 << 10;

export interface OfStreamEvents {
  /** One whole message; a copy is needed to keep it. */
  message(msg: Uint8Array): void;
  /** Once; `reason` as errno's text, empty at the end of the stream. */
  closed(reason: string): void;
}

export class OfStream {
  readonly socket: Socket;
  readonly #events: OfStreamEvents;
  #rest: Uint8Array = new Uint8Array(0);
  #closed = false;
  /** Messages dropped because the peer reads too slowly. */
  dropped = 0;

  constructor(socket: Socket, events: OfStreamEvents) {
    this.socket = socket;
    this.#events = events;
    socket.setNoDelay?.(true);
    socket.on('data', (chunk: Uint8Array) => this.#data(chunk));
    socket.on('error', (e: NodeJS.ErrnoException) => this.close(e.code ?? e.message));
    socket.on('close', () => this.close(''));
    socket.on('drain', () => socket.resume());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends messages that answer the peer. */
  send(messages: readonly Uint8Array[]): void {
    if (this.#closed) return;
    for (const m of messages) this.socket.write(m);
    if (this.socket.writableLength > PAUSE_BYTES) this.socket.pause();
  }

  /** Sends messages that the peer did not ask for; false when there was no room. */
  sendAsync(messages: readonly Uint8Array[]): boolean {
    if (this.#closed || this.socket.writableLength > ASYNC_LIMIT_BYTES) {
      this.dropped += messages.length;
      return false;
    }
    for (const m of messages) this.socket.write(m);
    return true;
  }

  /** Closes after what was sent is out. */
  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.socket.end();
    this.socket.destroySoon();
    this.#events.closed(reason);
  }

  #data(chunk: Uint8Array): void {
    let buf = chunk;
    if (this.#rest.length) {
      buf = new Uint8Array(this.#rest.length + chunk.length);
      buf.set(this.#rest);
      buf.set(chunk, this.#rest.length);
    }
    let at = 0;
    while (!this.#closed && buf.length - at >= HEADER_SIZE) {
      const size = (buf[at + 2] << 8) | buf[at + 3];
      if (size < HEADER_SIZE) {
        this.close('EPROTO');
        return;
      }
      if (buf.length - at < size) break;
      this.#events.message(buf.subarray(at, at + size));
      at += size;
    }
    this.#rest = this.#closed ? new Uint8Array(0) : buf.slice(at);
  }
}
