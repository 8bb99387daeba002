import { VHOST_USER_HDR_SIZE, VHOST_USER_MAX_REGIONS } from '../../../protocols/vhost-user.ts';
import { close } from '../../sys/fd.ts';
import { type Received, recvmsg } from '../../sys/socket.ts';
import { isSysError } from '../../sys/sys-error.ts';
import {
  headerError,
  readHeader,
  requestLabel,
  VHOST_USER_MAX_PAYLOAD,
  type VhostUserHeader,
} from '../../wire/vhost-user.ts';

/** A whole message of a front end. Whoever gets it owns the fds. */
export interface VhostUserMessage extends VhostUserHeader {
  payload: DataView;
  fds: number[];
}

export type ReadResult =
  | { kind: 'message'; message: VhostUserMessage }
  /** Nothing, or not all of it, there yet. */
  | { kind: 'wait' }
  /** The peer closed, between two messages. */
  | { kind: 'closed' }
  /** Nothing more can be read from this peer. */
  | { kind: 'broken'; reason: string };

/**
 * Cuts the bytes of a connection into messages. Its buffer holds one message at most, and no more fds than a message may have;
 * what is over is closed. Never blocks.
 *
 * Peeking at a message until it is answered, so that a successor of this process would find it again, does not work: MSG_PEEK walks on to
 * the messages behind and returns the fds of the first that has any (seen on Linux 6.18), also for bytes before it.
 */
export class MessageReader {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(VHOST_USER_HDR_SIZE + VHOST_USER_MAX_PAYLOAD);
  readonly #view = new DataView(this.#buffer.buffer);
  #have = 0;
  #fds: number[] = [];
  #header: VhostUserHeader | undefined;

  /** `fd` is a non-blocking unix socket; it stays the caller's. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** True while a message has begun and not ended. */
  get midMessage(): boolean {
    return this.#have > 0;
  }

  next(): ReadResult {
    for (;;) {
      const want = VHOST_USER_HDR_SIZE + (this.#header?.size ?? 0);
      if (this.#have < want) {
        const trouble = this.#receive(want);
        if (trouble) return trouble;
        continue;
      }
      if (this.#header) return { kind: 'message', message: this.#takeMessage() };
      const header = readHeader(this.#view);
      const reason = headerError(header);
      if (reason !== undefined) return this.#broken(reason);
      this.#header = header;
    }
  }

  /** Closes the fds of a message that will never be whole. */
  discard(): void {
    for (const fd of this.#fds) close(fd);
    this.#fds = [];
    this.#have = 0;
    this.#header = undefined;
  }

  /** Reads on, never past byte `want`: the kernel hands the next message's fds over with its first byte. */
  #receive(want: number): ReadResult | undefined {
    const got = this.#recvmsg(this.#buffer.subarray(this.#have, want));
    this.#fds.push(...got.fds);
    if (got.truncated || this.#fds.length > VHOST_USER_MAX_REGIONS)
      return this.#broken(`${this.#label()}: too many fds`);
    if (got.size < 0) return { kind: 'wait' };
    if (got.size === 0) {
      return this.midMessage ? this.#broken(`${this.#label()}: closed in mid-message`) : { kind: 'closed' };
    }
    this.#have += got.size;
    return undefined;
  }

  /** A reset is an end like others: the peer closed, or was killed, before it had read everything. */
  #recvmsg(buf: Uint8Array): Received {
    try {
      return recvmsg(this.#fd, buf, { maxFds: VHOST_USER_MAX_REGIONS });
    } catch (e) {
      if (isSysError(e, 'ECONNRESET')) return { size: 0, fds: [], truncated: false };
      throw e;
    }
  }

  #takeMessage(): VhostUserMessage {
    const payload = new DataView(this.#buffer.buffer.slice(VHOST_USER_HDR_SIZE, this.#have));
    const message = { ...this.#header!, payload, fds: this.#fds };
    this.#fds = [];
    this.#have = 0;
    this.#header = undefined;
    return message;
  }

  #label(): string {
    return this.#header ? requestLabel(this.#header.request) : 'header';
  }

  #broken(reason: string): ReadResult {
    this.discard();
    return { kind: 'broken', reason };
  }
}
