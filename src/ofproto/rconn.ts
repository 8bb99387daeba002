import type { Socket } from 'node:net';
import type { Clock, ClockTimer } from '../base/clock.ts';
import { strerror } from '../base/errno.ts';
import type { ControllerConfig, Logger, TlsConfig } from './config.ts';
import { connectTarget, type Target } from './vconn.ts';

/** A connection to a controller that comes back: exponential backoff between attempts, as Open vSwitch's rconn does it. */

export interface RconnEvents {
  /** A new socket; the events of the last one are over. */
  connected(socket: Socket): void;
  tls(): TlsConfig | undefined;
}

export type RconnState = 'VOID' | 'BACKOFF' | 'CONNECTING' | 'ACTIVE' | 'IDLE';

const FIRST_BACKOFF_MS = 1000;

/** `EOF` is the end of the stream, anything else an errno's name. */
export const errorText = (code: string): string =>
  code === 'EOF' ? 'End of file' : strerror(Object.assign(new Error(code), { code }));

export class Rconn {
  readonly name: string;
  config: ControllerConfig;
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: RconnEvents;
  #backoffMs = 0;
  /** A connection that lasted until then starts the backoff anew. */
  #deadlineMs = Number.NEGATIVE_INFINITY;
  #timer: ClockTimer | undefined;
  #pending: Socket | undefined;
  #closed = false;
  state: RconnState = 'VOID';
  /** Empty: none yet. */
  lastError = '';
  /** When it was last connected, and disconnected; undefined: never. */
  connectedMs: number | undefined = undefined;
  disconnectedMs: number | undefined = undefined;
  readonly #createdMs: number;

  constructor(name: string, config: ControllerConfig, target: Target, clock: Clock, log: Logger, events: RconnEvents) {
    this.name = name;
    this.config = config;
    this.#target = target;
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
    this.#createdMs = clock.monotonicMs();
    this.#connect();
  }

  get isConnected(): boolean {
    return this.state === 'ACTIVE' || this.state === 'IDLE';
  }

  /** Since when there has been no connection that was taken. */
  get failedSinceMs(): number {
    return Math.max(this.connectedMs ?? this.#createdMs, this.disconnectedMs ?? this.#createdMs);
  }

  /** The connection is gone, or never came about; `error` as an errno's name, empty at the end of the stream. */
  lost(error: string): void {
    if (this.#closed || this.state === 'BACKOFF') return;
    const code = error || 'EOF';
    if (this.isConnected) {
      if (code === 'EOF') this.#log.info(`${this.name}: connection closed by peer`);
      else this.#log.warn(`${this.name}: connection dropped (${errorText(code)})`);
    } else if (this.#loud) this.#log.info(`${this.name}: connection failed (${errorText(code)})`);
    this.#disconnect(code);
  }

  /** The version is agreed on. */
  healthy(): void {
    if (this.state !== 'CONNECTING') return;
    this.#log.info(`${this.name}: connected`);
    this.state = 'ACTIVE';
    this.#pending = undefined;
    this.connectedMs = this.#clock.monotonicMs();
  }

  /** The peer has said something, or (`idle`) nothing for so long that it is asked. */
  setIdle(idle: boolean): void {
    if (this.isConnected) this.state = idle ? 'IDLE' : 'ACTIVE';
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#pending?.destroy();
    this.state = 'VOID';
  }

  /** Attempts are logged until the backoff is at its longest. */
  get #loud(): boolean {
    return this.#backoffMs < this.#maxBackoffMs;
  }

  get #maxBackoffMs(): number {
    return Math.max(this.config.maxBackoffMs, FIRST_BACKOFF_MS);
  }

  #disconnect(code: string): void {
    const nowMs = this.#clock.monotonicMs();
    this.#timer?.cancel();
    this.lastError = errorText(code);
    if (this.state !== 'BACKOFF') this.disconnectedMs = nowMs;
    if (nowMs >= this.#deadlineMs) this.#backoffMs = FIRST_BACKOFF_MS;
    else if (this.#backoffMs < this.#maxBackoffMs / 2) {
      this.#backoffMs = Math.max(FIRST_BACKOFF_MS, 2 * this.#backoffMs);
      this.#log.info(`${this.name}: waiting ${Math.floor(this.#backoffMs / 1000)} seconds before reconnect`);
    } else {
      if (this.#loud)
        this.#log.info(
          `${this.name}: continuing to retry connections in the background but suppressing further logging`,
        );
      this.#backoffMs = this.#maxBackoffMs;
    }
    this.#deadlineMs = nowMs + this.#backoffMs;
    this.state = 'BACKOFF';
    this.#timer = this.#clock.after(this.#backoffMs, () => this.#connect());
  }

  #connect(): void {
    if (this.#closed) return;
    if (this.#loud) this.#log.info(`${this.name}: connecting...`);
    this.#deadlineMs = this.#clock.monotonicMs() + this.#backoffMs;
    this.state = 'CONNECTING';
    const limitMs = Math.max(FIRST_BACKOFF_MS, this.#backoffMs);
    this.#timer = this.#clock.after(limitMs, () => this.#timedOut());
    this.#pending = connectTarget(this.#target, this.#events.tls(), (socket, error) => {
      if (this.#closed || this.state !== 'CONNECTING') socket?.destroy();
      else if (socket) this.#events.connected(socket);
      else this.lost(error);
    });
  }

  /** The peer has not answered, or not said hello. */
  #timedOut(): void {
    if (this.state !== 'CONNECTING') return;
    if (this.#loud) this.#log.info(`${this.name}: connection timed out`);
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#disconnect('ETIMEDOUT');
    this.#pending?.destroy();
    this.#pending = undefined;
  }
}
