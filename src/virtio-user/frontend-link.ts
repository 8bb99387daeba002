/**
 * One port's connection to the switch: connects or listens, negotiates, notices that the switch has gone, and tries again. Driven by
 * its owner's poll loop; never blocks. Lcore thread only.
 */
import { rmSync } from 'node:fs';
import { VHOST_USER_HDR_SIZE } from '../../protocols/vhost-user.ts';
import { close } from '../sys/fd.ts';
import { POLLIN, POLLOUT } from '../sys/poll.ts';
import { accept4, recvmsg, sendmsg, unixConnect, unixListen } from '../sys/socket.ts';
import { isSysError } from '../sys/sys-error.ts';
import { readHeader } from '../wire/vhost-user.ts';
import { FrontendError, type FrontendSetup, type FrontendStep, type Negotiated, startDevice } from './frontend.ts';
import type { VdevConfig } from './vdev.ts';

/** Between two attempts to connect. */
const RETRY_MS = 200;
/** A switch that says nothing for so long in the middle of the negotiation is hung up on. */
const SILENCE_MS = 5000;
/** Payloads of answers are 8 bytes: a u64 or a ring's position. */
const REPLY_SIZE = VHOST_USER_HDR_SIZE + 8;

export type LinkState = 'waiting' | 'listening' | 'negotiating' | 'up';

export interface LinkHooks {
  /** Rings must be ready to be shared: called before each negotiation. */
  prepare(): void;
  up(negotiated: Negotiated): void;
  /** The connection ended, in whatever state; the switch touches the rings no more. */
  down(reason: string): void;
}

export class FrontendLink {
  readonly #vdev: VdevConfig;
  readonly #setup: FrontendSetup;
  readonly #hooks: LinkHooks;
  #state: LinkState = 'waiting';
  #fd = -1;
  #listenFd = -1;
  #retryAtMs = 0;
  #deadlineMs = 0;
  #steps: Generator<FrontendStep, Negotiated, bigint> | undefined;
  /** The request in hand, what of it was not sent yet. */
  #out: Uint8Array = new Uint8Array(0);
  #outFds: readonly number[] = [];
  #awaiting: number | undefined;
  readonly #in = new Uint8Array(REPLY_SIZE);
  #inSize = 0;

  constructor(vdev: VdevConfig, setup: FrontendSetup, hooks: LinkHooks) {
    this.#vdev = vdev;
    this.#setup = setup;
    this.#hooks = hooks;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** What to poll for: the connection, or the listening socket; fd -1 while waiting to retry. */
  interest(): { fd: number; events: number } {
    if (this.#state === 'listening') return { fd: this.#listenFd, events: POLLIN };
    return { fd: this.#fd, events: POLLIN | (this.#out.length > 0 ? POLLOUT : 0) };
  }

  /** Does what can be done now. `ready`: poll reported something for `interest()`. Throws SysError when it cannot listen. */
  run(nowMs: number, ready: boolean): void {
    if (this.#state === 'waiting') this.#open(nowMs);
    else if (this.#state === 'listening' && ready) this.#accept(nowMs);
    else if (ready) this.#guard(nowMs, () => this.#receive(nowMs));
    else if (this.#state === 'negotiating' && nowMs > this.#deadlineMs) this.#down(nowMs, 'the switch is silent');
  }

  #open(nowMs: number): void {
    if (nowMs < this.#retryAtMs) return;
    if (this.#vdev.server) {
      this.#listen();
      return;
    }
    try {
      this.#begin(unixConnect(this.#vdev.path), nowMs);
    } catch (e) {
      if (!isSysError(e, 'ECONNREFUSED', 'ENOENT', 'EAGAIN', 'EACCES')) throw e;
      this.#retryAtMs = nowMs + RETRY_MS;
    }
  }

  #listen(): void {
    if (this.#listenFd < 0) {
      removeStale(this.#vdev.path);
      this.#listenFd = unixListen(this.#vdev.path);
    }
    this.#state = 'listening';
  }

  #accept(nowMs: number): void {
    const fd = accept4(this.#listenFd);
    if (fd >= 0) this.#begin(fd, nowMs);
  }

  #begin(fd: number, nowMs: number): void {
    this.#fd = fd;
    this.#state = 'negotiating';
    this.#inSize = 0;
    this.#deadlineMs = nowMs + SILENCE_MS;
    this.#hooks.prepare();
    this.#steps = startDevice(this.#setup);
    this.#guard(nowMs, () => this.#resume(0n));
  }

  /** Runs `work`; an error of the connection or of the protocol ends the connection. */
  #guard(nowMs: number, work: () => void): void {
    try {
      work();
    } catch (e) {
      if (!isSysError(e) && !(e instanceof FrontendError)) throw e;
      this.#down(nowMs, e.message);
    }
  }

  /** Takes steps until one waits for an answer or for room in the socket. */
  #resume(answer: bigint): void {
    for (;;) {
      const { value, done } = this.#steps!.next(answer);
      if (done) {
        this.#state = 'up';
        this.#steps = undefined;
        this.#hooks.up(value);
        return;
      }
      this.#out = value.message;
      this.#outFds = value.fds;
      this.#awaiting = value.reply;
      if (!this.#flush() || this.#awaiting !== undefined) return;
    }
  }

  /** True when the request in hand is sent whole. */
  #flush(): boolean {
    while (this.#out.length > 0) {
      const n = sendmsg(this.#fd, [this.#out], this.#outFds);
      if (n < 0) return false;
      this.#outFds = [];
      this.#out = this.#out.subarray(n);
    }
    return true;
  }

  #receive(nowMs: number): void {
    if (this.#out.length > 0 && this.#flush() && this.#awaiting === undefined) this.#resume(0n);
    for (;;) {
      const room = this.#in.subarray(this.#inSize);
      const { size, fds } = recvmsg(this.#fd, room, { maxFds: 1 });
      for (const fd of fds) close(fd);
      if (size < 0) return;
      if (size === 0) throw new FrontendError('the switch closed the connection');
      this.#inSize += size;
      this.#deadlineMs = nowMs + SILENCE_MS;
      if (this.#inSize === REPLY_SIZE) this.#answered();
    }
  }

  #answered(): void {
    const view = new DataView(this.#in.buffer);
    const { request, size } = readHeader(view);
    this.#inSize = 0;
    if (request !== this.#awaiting || size !== 8) {
      throw new FrontendError(`unexpected message ${request} of ${size} bytes from the switch`);
    }
    this.#awaiting = undefined;
    this.#resume(view.getBigUint64(VHOST_USER_HDR_SIZE, true));
  }

  #down(nowMs: number, reason: string): void {
    close(this.#fd);
    this.#fd = -1;
    this.#steps = undefined;
    this.#out = new Uint8Array(0);
    this.#awaiting = undefined;
    this.#state = 'waiting';
    this.#retryAtMs = nowMs + (this.#vdev.server ? 0 : RETRY_MS);
    this.#hooks.down(reason);
  }

  /** Hangs up and stops listening. */
  close(): void {
    if (this.#fd >= 0) this.#down(Number.POSITIVE_INFINITY, 'closed');
    if (this.#listenFd < 0) return;
    close(this.#listenFd);
    this.#listenFd = -1;
    rmSync(this.#vdev.path, { force: true });
  }
}

/** Removes a socket that nobody listens on any more; one that is in use stays, and listening will fail. */
function removeStale(path: string): void {
  try {
    close(unixConnect(path));
  } catch (e) {
    if (isSysError(e, 'ECONNREFUSED')) rmSync(path, { force: true });
  }
}
