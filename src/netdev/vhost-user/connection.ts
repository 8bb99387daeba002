import type { Clock } from '../../base/clock.ts';
import { FdWatcher } from '../../sys/fd-watcher.ts';
import { sendmsg } from '../../sys/socket.ts';
import { SysError } from '../../sys/sys-error.ts';
import { MessageReader, type VhostUserMessage } from './message-reader.ts';

/** How long a front end may take from the first byte of a message to its last. */
export const MESSAGE_TIMEOUT_MS = 5000;
/** Messages handled in one go before other peers have their turn. */
const MESSAGES_A_TURN = 32;

/** The connection cannot go on; the message says why, for the log. */
export class Disconnect extends Error {
  override name = 'Disconnect';
}

/** Timers that do not keep the process alive. */
export type Timers = Pick<Clock, 'after'>;

export interface ConnectionHandler {
  /** Handles one message, whose fds are now its own, and gives the answer to send. Throws `Disconnect`. */
  message(message: VhostUserMessage): Promise<Uint8Array | undefined>;
  /** The connection is over, called once. `reason` is undefined when the peer closed in good order. */
  closed(reason: string | undefined): void;
}

/**
 * One front end's socket: hands its messages over one at a time, in order, and sends the answers. Control thread; never blocks. The fd
 * stays the caller's, who closes it after `closed`.
 */
export class VhostConnection {
  readonly #fd: number;
  readonly #clock: Timers;
  readonly #handler: ConnectionHandler;
  readonly #reader: MessageReader;
  readonly #watcher: FdWatcher;
  #timer: ReturnType<Timers['after']> | undefined;
  #closed = false;

  constructor(fd: number, clock: Timers, handler: ConnectionHandler) {
    this.#fd = fd;
    this.#clock = clock;
    this.#handler = handler;
    this.#reader = new MessageReader(fd);
    this.#watcher = new FdWatcher(fd, () => void this.#pump());
    this.#watcher.arm();
  }

  /** Ends the connection from our side. Idempotent. */
  close(reason?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#watcher.close();
    this.#reader.discard();
    this.#handler.closed(reason);
  }

  /** Reads and handles what is there, then waits for more. Its own errors end the connection, nothing else. */
  async #pump(): Promise<void> {
    try {
      for (let i = 0; i < MESSAGES_A_TURN && !this.#closed; i++) if (!(await this.#step())) break;
      if (!this.#closed) this.#watcher.arm();
    } catch (e) {
      if (!(e instanceof Disconnect || e instanceof SysError)) throw e;
      this.close(e.message);
    }
  }

  /** Handles one message. False when there is none to handle now. */
  async #step(): Promise<boolean> {
    const result = this.#reader.next();
    switch (result.kind) {
      case 'wait':
        this.#limitTime();
        return false;
      case 'closed':
        this.close();
        return false;
      case 'broken':
        this.close(result.reason);
        return false;
      case 'message': {
        this.#timer?.cancel();
        this.#timer = undefined;
        const reply = await this.#handler.message(result.message);
        if (reply && !this.#closed) this.#send(reply);
        return true;
      }
    }
  }

  /** An answer is small: a socket without room for it belongs to a peer that does not read. */
  #send(reply: Uint8Array): void {
    if (sendmsg(this.#fd, [reply]) !== reply.length) throw new Disconnect('the peer does not read its answers');
  }

  #limitTime(): void {
    if (!this.#reader.midMessage || this.#timer) return;
    this.#timer = this.#clock.after(MESSAGE_TIMEOUT_MS, () => this.close('silence in mid-message'));
  }
}
